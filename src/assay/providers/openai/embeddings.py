"""OpenAI's embeddings, as OpenAI, Azure and compatible servers (Ollama, vLLM, …) serve them.

Source: https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from assay.domain.completion import Prompt
from assay.domain.errors import VectorsUnusable
from assay.providers.body import given
from assay.providers.embedding_answer import EmbeddingAnswer
from assay.providers.http_model import HttpModel
from assay.providers.openai.dialect import OPENAI
from assay.providers.shapes import list_of, mapping_of, text_of
from assay.providers.stream_accumulator import usage


class OpenAIEmbeddingAnswer(EmbeddingAnswer):
    """Reads vectors by their `index`; a server without one answers in the order of the texts."""

    dialect = OPENAI

    def vectors(self, answer: Any) -> Sequence[Any]:
        self.served_by = text_of(answer.get("model")) or self.served_by
        counts = mapping_of(answer.get("usage"))
        self.usage = usage(counts.get("prompt_tokens") or counts.get("total_tokens"), 0)
        entries = [mapping_of(entry) for entry in list_of(answer.get("data"))]
        if any("index" in entry for entry in entries):
            if {entry.get("index") for entry in entries} != set(range(len(entries))):
                raise VectorsUnusable("The embeddings are not numbered one by one.")
            entries.sort(key=itemgetter("index"))
        return [entry.get("embedding") for entry in entries]


class OpenAIEmbeddings(HttpModel):
    """A model behind `/embeddings`; all texts of a prompt go in one request."""

    accumulator = OpenAIEmbeddingAnswer
    path = "embeddings"

    def document(self, prompt: Prompt[Any]) -> dict[str, Any]:
        dimensions = given(dimensions=self._model.dimensions)
        return {"model": self._model.name, "input": list(prompt.turns), **dimensions}
