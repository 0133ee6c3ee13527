"""OpenAI's protocols: the Responses API, chat completions of compatible servers, embeddings."""

from assay.providers.openai.chat import OpenAI, OpenAIStream
from assay.providers.openai.embeddings import OpenAIEmbeddings
from assay.providers.openai.responses import OpenAIResponses, ResponsesStream

__all__ = ["OpenAI", "OpenAIEmbeddings", "OpenAIResponses", "OpenAIStream", "ResponsesStream"]
