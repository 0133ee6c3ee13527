"""The names by which this machine calls itself.

A page in a browser reaches a service on the loopback under a name of its own that resolves to
127.0.0.1 (DNS rebinding). The `Host` header gives it away.
"""

from __future__ import annotations

from collections.abc import Iterable

from assay.domain.targets import is_loopback


class LocalHosts:
    """Recognises loopback names and addresses in a `Host` header, and the names of `others`."""

    def __init__(self, others: Iterable[str] = ()) -> None:
        self._others = frozenset(name.lower() for name in others)

    def admits(self, host: str) -> bool:
        """Whether `host`, with or without a port, is this machine."""
        name = host.lower().strip()
        if name.startswith("["):
            name = name[1:].partition("]")[0]
        else:
            name = name.partition(":")[0].removesuffix(".")
        return name.endswith(".localhost") or name in self._others or is_loopback(name)
