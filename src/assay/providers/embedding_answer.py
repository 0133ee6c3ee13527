"""The answer of an embedding model while it is received: a subclass for each dialect reads it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from assay.domain.errors import ModelError, StreamBroken, VectorsUnusable
from assay.domain.vectors import from_text, to_text
from assay.providers.stream_accumulator import StreamAccumulator


class EmbeddingAnswer(StreamAccumulator):
    """Collects vectors in the order of the prompt's turns, one for each, as `domain/vectors` does.

    Their number is left to the prompt's reader.
    """

    @abstractmethod
    def vectors(self, answer: Any) -> Sequence[Any]:
        """The vectors in the order of the texts: a list of numbers each, or base64.

        It also notes the usage.
        """

    def read_event(self, event: Any) -> None:
        del event
        raise StreamBroken(f"{self.provider} streamed its embeddings")

    def read_answer(self, answer: Any) -> None:
        try:
            for vector in self.vectors(answer):
                self._write_vector(vector)
        except ModelError as error:
            raise self._counted(error) from None
        self.finish("stop")

    def _write_vector(self, value: Any) -> None:
        vector = from_text(value) if isinstance(value, str) else value
        text, wanted = to_text(vector), self._model.dimensions
        if wanted is not None and len(vector) != wanted:
            found = f"{len(vector)} dimensions, and {wanted} are configured"
            raise VectorsUnusable(f"The embeddings have {found}.")
        self.write(text + " ")
