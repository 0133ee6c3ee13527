"""Who is calling, and what they may do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

from starlette.datastructures import Headers
from starlette.requests import Request

from assay.domain.errors import RequestError
from assay.http.hosts import LocalHosts
from assay.http.problems import Problem, ProblemError

Role = Literal["read", "write", "operator"]
ROLES: tuple[Role, ...] = ("read", "write", "operator")
"""In ascending order: each permits what those before it do."""
READING = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that need no more than `read`."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The tenant that a request acts for, and what its key permits."""

    tenant: str
    role: Role = "write"
    key_name: str = ""
    expires_s: float = math.inf
    """When the key ends, in seconds since the epoch."""


OPEN_IDENTITY = Identity("default")
IDENTITY = "assay.identity"
"""Key in the scope of a request that this process makes of itself: whom it is for."""


class Access(Protocol):
    """Decides who is calling."""

    def identify(self, headers: Headers) -> Identity:
        """The caller of a request with these headers.

        Raises `ProblemError` (`unauthenticated`).
        """
        ...

    def holder(self, digest: str) -> Identity:
        """The holder of the key with this digest; see `identify`."""
        ...


def authenticate(request: Request, access: Access, needs: Role | None = None) -> Identity:
    """The caller of a request, whose tenant and key are noted for the request's event.

    Without `needs`, the method decides between `read` and `write`. Raises `ProblemError`
    (`unauthenticated`) and `RequestError` (`forbidden`).
    """
    identity: Identity = request.scope.get(IDENTITY) or access.identify(request.headers)
    request.state.tenant = identity.tenant
    request.state.key_name = identity.key_name
    needs = needs or ("read" if request.method in READING else "write")
    if ROLES.index(identity.role) < ROLES.index(needs):
        raise RequestError("forbidden", f"Use an API key with role={needs}.")
    return identity


class OpenAccess:
    """Admits every caller on this machine as one tenant: `auth.required = false`."""

    def __init__(self, hosts: LocalHosts | None = None) -> None:
        self._hosts = hosts or LocalHosts()

    def identify(self, headers: Headers) -> Identity:
        if not self._hosts.admits(headers.get("host", "")):
            raise unauthenticated(
                "Without API keys, the Host of a request must be localhost or a loopback address. "
                "Other names need auth.keys_file or auth.hosts."
            )
        return OPEN_IDENTITY

    def holder(self, digest: str) -> Identity:
        """No key is known where none is needed."""
        _ = digest
        raise unauthenticated("This service has no API keys.")


def unauthenticated(detail: str) -> ProblemError:
    """The error for a caller who is not known, with the challenge that a 401 carries."""
    challenge = ("www-authenticate", 'Bearer realm="assay"')
    return ProblemError(Problem("unauthenticated", detail, headers=(challenge,)))
