"""Sessions of the console: who looks at it, and that a form was sent from its own pages."""

from __future__ import annotations

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
    signed_in: bool


class Sessions:
    """Opens and reads sessions, which are signed cookies with the digest of an API key."""

    def __init__(self, access: Access, secret: bytes) -> None:
        self._access = access
        self._cookies = URLSafeTimedSerializer(secret, salt="session")
        self._tokens = URLSafeTimedSerializer(secret, salt="csrf")

    def open(self, request: Request, key: str, response: Response) -> None:
        """Sign in with an API key; raises `ProblemError` (`unauthenticated`)."""
        digest = key_digest(key.strip())
        self._access.holder(digest)
        response.set_cookie(
            COOKIE,
            str(self._cookies.dumps(digest)),
            max_age=SESSION_S,
            path=request.scope.get("root_path", "") or "/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="lax",
        )

    def close(self, request: Request, response: Response) -> None:
        """Sign out."""
        response.delete_cookie(COOKIE, path=request.scope.get("root_path", "") or "/")

    def find(self, request: Request) -> Session:
        """The session of a request; raises `ProblemError` (`unauthenticated`)."""
        cookie = request.cookies.get(COOKIE)
        if cookie is None:
            # Where keys are not needed, everyone on this machine is known.
            return self._session(self._access.identify(request.headers), OPEN)
        try:
            digest = str(self._cookies.loads(cookie, max_age=SESSION_S))
        except BadSignature:
            raise ProblemError(Problem("unauthenticated", "The session has ended.")) from None
        return self._session(self._access.holder(digest), digest)

    def _session(self, identity: Identity, owner: str) -> Session:
        return Session(identity, str(self._tokens.dumps(owner)), owner != OPEN)

    def check(self, request: Request, token: Any) -> None:
        """Raise `ProblemError` (`forbidden`) unless the request comes from a page of the session.

        Both the token and what the browser says of the origin must be right.
        """
        cookie = request.cookies.get(COOKIE)
        try:
            owner = OPEN if cookie is None else self._cookies.loads(cookie, max_age=SESSION_S)
            given = self._tokens.loads(str(token or ""), max_age=SESSION_S)
        except BadSignature:
            raise _forged() from None
        site = request.headers.get("sec-fetch-site")
        origin = request.headers.get("origin")
        elsewhere = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
        if not hmac.compare_digest(str(owner), str(given)) or elsewhere:
            raise _forged()
        if site not in (None, "same-origin"):
            raise _forged()


def _forged() -> ProblemError:
    detail = "The form did not come from this page, or the page is old. Load it again."
    return ProblemError(Problem("forbidden", detail))
