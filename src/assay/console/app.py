"""The console's routes, and what all of its pages have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from assay.console.api_calls import Api, ApiError
from assay.console.forms import FormFault
from assay.console.sessions import CSRF_FIELD, CSRF_HEADER, SAFE, Sessions
from assay.console.views import FILES, page
from assay.http.access import Access
from assay.http.problems import ProblemError

View = Callable[[Request, Api], Awaitable[Response]]
LONG = {"cache-control": "public, max-age=31536000, immutable"}


class Console:
    """Opens pages for whoever has a session; `app` is the API that they are made of."""

    def __init__(self, app: ASGIApp, access: Access, secret: bytes) -> None:
        self._app = app
        self._sessions = Sessions(access, secret)

    def build(self, pages: Sequence[tuple[str, View, str]]) -> Starlette:
        """The console with its pages: each a path, what answers it, and the method."""
        routes: list[BaseRoute] = [
            Route("/sign-in", self._sign_in, methods=["GET", "POST"]),
            Route("/sign-out", self._sign_out, methods=["POST"]),
            Mount("/files", LastingFiles(directory=FILES)),
            Mount("/api", Forwarder(self)),
        ]
        routes += [
            Route(path, self._opened(view), methods=[method]) for path, view, method in pages
        ]
        return Starlette(
            routes=routes,
            exception_handlers={
                ApiError: _failed,
                FormFault: _misread,
                ProblemError: self._refused,
                HTTPException: _failed,
                Exception: _failed,
            },
        )

    async def api(self, request: Request, *, takes_forms: bool = True) -> Api:
        """The API as the one who looks may use it.

        With `takes_forms`, the token may stand in a form, whose body is then read. Raises
        `ProblemError`: without a session, and for a form from elsewhere.
        """
        session = self._sessions.find(request)
        request.state.session = session
        if request.method not in SAFE:
            token = request.headers.get(CSRF_HEADER)
            content_type = request.headers.get("content-type", "")
            if token is None and takes_forms and "form" in content_type:
                token = str((await request.form()).get(CSRF_FIELD, ""))
            self._sessions.check(request, session, token)
        return Api(self._app, session.identity, request)

    def _opened(self, view: View) -> Callable[[Request], Awaitable[Response]]:
        async def opened(request: Request) -> Response:
            return await view(request, await self.api(request))

        return opened

    async def _sign_in(self, request: Request) -> Response:
        """Exchange a key for a session. Without one there is nothing that a forged form gains."""
        target = request.query_params.get("next", "")
        fault, status = "", HTTPStatus.OK.value
        if request.method == "POST":
            form: FormData = await request.form()
            home = request.scope.get("root_path", "")
            response = RedirectResponse(f"{home}/{_inside(target)}", HTTPStatus.SEE_OTHER)
            try:
                self._sessions.open(request, str(form.get("key", "")), response)
            except ProblemError as error:
                fault, status = error.problem.detail, error.problem.status
            else:
                return response
        return page(request, "sign_in.html", status=status, fault=fault, next=_inside(target))

    async def _sign_out(self, request: Request) -> Response:
        await self.api(request)
        response = RedirectResponse(
            f"{request.scope.get('root_path', '')}/sign-in", HTTPStatus.SEE_OTHER
        )
        self._sessions.close(request, response)
        return response

    async def _refused(self, request: Request, error: Exception) -> Response:
        """Whoever is not known signs in; everyone else reads why not."""
        assert isinstance(error, ProblemError)  # noqa: S101  # Starlette passes what is registered
        problem = error.problem
        root = request.scope.get("root_path", "")
        if problem.code == "unauthenticated":
            here = request.url.path.removeprefix(root).strip("/")
            if request.url.query and request.method in SAFE:
                here += f"?{request.url.query}"
            target = f"{root}/sign-in" + (f"?next={quote(here)}" if here else "")
            if "hx-request" in request.headers:
                # The page stays as it is, with what was entered: its script offers to sign in.
                return Response(status_code=401)
            return RedirectResponse(target, HTTPStatus.SEE_OTHER)
        title = "The form was not accepted"
        return _problem_page(request, problem.status, title, problem.detail, [])


class LastingFiles(StaticFiles):
    """The console's files, which browsers keep: their URLs change with their content."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(LONG)
        return response


class Forwarder:
    """Passes requests of scripts on to the API: uploads, downloads and events."""

    def __init__(self, console: Console) -> None:
        self._console = console

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        api = await self._console.api(request, takes_forms=False)
        path = scope["path"].removeprefix(scope["root_path"])
        if not path.startswith("/v1/"):
            raise HTTPException(HTTPStatus.NOT_FOUND)
        await api.forward(path, receive, send)


async def _misread(request: Request, fault: Exception) -> Response:
    return page(request, "fault.html", status=422, text=str(fault))


async def _failed(request: Request, error: Exception) -> Response:
    if isinstance(error, ApiError):
        problem = error.problem
        title = str(problem.get("title") or "The service did not answer")
        return _problem_page(
            request, error.status, title, str(problem.get("detail") or ""),
            problem.get("errors") or [], problem.get("attempts") or [],
        )  # fmt: skip
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _problem_page(request, status, HTTPStatus(status).phrase, "", [])


def _problem_page(
    request: Request, status: int, title: str, detail: str,
    errors: Sequence[object], attempts: Sequence[object] = (),
) -> Response:  # fmt: skip
    return page(
        request, "problem.html", status=status, title=title, detail=detail, errors=errors,
        attempts=attempts,
    )  # fmt: skip


def _inside(target: str) -> str:
    """A path of the console with its query, and never another host's."""
    path, mark, query = target.partition("?")
    outside = "//" in path or "\\" in path or ":" in path
    return "" if outside else path.strip("/") + mark + query
