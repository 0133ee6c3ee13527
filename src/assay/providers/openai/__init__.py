"""OpenAI's two protocols: the Responses API, and the chat completions of compatible servers."""

from assay.providers.openai.chat import OpenAI, OpenAIStream
from assay.providers.openai.responses import OpenAIResponses, ResponsesStream

__all__ = ["OpenAI", "OpenAIResponses", "OpenAIStream", "ResponsesStream"]
