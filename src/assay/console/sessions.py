"""Sessions of the console: who looks at it, and that a form was sent from its own pages."""

from __future__ import annotations

import contextlib
import hmac
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

from assay.http.access import Access, Identity
from assay.http.keys_file import key_digest
from assay.http.problems import Problem, ProblemError

COOKIE = "assay_session"
SESSION_S = 8 * 3_600
"""How long a session lasts; a key that is revoked ends it at once."""
CSRF_HEADER, CSRF_FIELD = "x-csrf-token", "csrf_token"
SAFE = frozenset({"GET", "HEAD"})
OPEN = "open"
"""Stands for the key where none is needed."""


@dataclass(frozen=True, slots=True)
class Session:
    """Who is looking, and the token that their forms must carry."""

    identity: Identity
    csrf_token: str
    owner: str
    """Digest of the key that signed in, or `OPEN`."""

    @property
    def signed_in(self) -> bool:
        """Whether there is something to sign out of."""
        return self.owner != OPEN


class Sessions:
    """Opens and reads sessions, which are signed cookies with the digest of an API key."""

    def __init__(self, access: Access, secret: bytes) -> None:
        self._access = access
        self._cookies = URLSafeTimedSerializer(secret, salt="session")
        self._tokens = URLSafeTimedSerializer(secret, salt="csrf")

    def open(self, request: Request, key: str, response: Response) -> None:
        """Sign in with an API key.

        Raises `ProblemError`: `unauthenticated`, and `forbidden` for the form of another site,
        which would have somebody work as a tenant that is not theirs.
        """
        _check_origin(request)
        digest = key_digest(key.strip())
        self._access.holder(digest)
        response.set_cookie(
            COOKIE,
            str(self._cookies.dumps(digest)),
            max_age=SESSION_S,
            path=request.scope.get("root_path", "") or "/",
            # Behind a proxy that ends TLS, only the browser knows of it.
            secure="https" in (request.url.scheme, urlsplit(_origin(request)).scheme),
            httponly=True,
            samesite="lax",
        )

    def close(self, request: Request, response: Response) -> None:
        """Sign out."""
        response.delete_cookie(COOKIE, path=request.scope.get("root_path", "") or "/")

    def find(self, request: Request) -> Session:
        """The session of a request; raises `ProblemError` (`unauthenticated`)."""
        identity, owner = self._known(request)
        return Session(identity, str(self._tokens.dumps(owner)), owner)

    def _known(self, request: Request) -> tuple[Identity, str]:
        # A cookie that counts no more is as none: browsers send it to every port of a host, so it
        # may be that of another service.
        with contextlib.suppress(BadSignature, ProblemError):
            digest = self._cookies.loads(request.cookies.get(COOKIE, ""), max_age=SESSION_S)
            return self._access.holder(str(digest)), str(digest)
        # Where keys are not needed, everyone on this machine is known.
        return self._access.identify(request.headers), OPEN

    def check(self, request: Request, session: Session, token: Any) -> None:
        """Raise `ProblemError` (`forbidden`) unless the request comes from a page of the session.

        Both the token and what the browser says of the origin must be right.
        """
        try:
            given = self._tokens.loads(str(token or ""), max_age=SESSION_S)
        except BadSignature:
            raise _forged() from None
        if not hmac.compare_digest(session.owner, str(given)):
            raise _forged()
        _check_origin(request)


def _check_origin(request: Request) -> None:
    """Raise `ProblemError` (`forbidden`) if the browser says that another site sent the form."""
    origin = _origin(request)
    if origin and urlsplit(origin).netloc != request.headers.get("host"):
        raise _forged()
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise _forged()


def _origin(request: Request) -> str:
    return request.headers.get("origin", "")


def _forged() -> ProblemError:
    detail = "The form did not come from this page, or the page is old. Load it again."
    return ProblemError(Problem("forbidden", detail))
