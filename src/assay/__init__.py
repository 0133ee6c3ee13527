"""Assay: an evaluation service for the outputs of language models, and its client."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assay.client import Assay, AsyncAssay

__all__ = ["Assay", "AsyncAssay", "__version__"]
__version__ = "0.9.0"


def __getattr__(name: str) -> Any:
    # The service imports this package as well, and has no use for the client.
    if name in ("Assay", "AsyncAssay"):
        from assay import client  # noqa: PLC0415  # only if used

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
