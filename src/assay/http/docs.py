"""`/docs`: Swagger UI, from files of a package, so that the page asks no other host."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

PAGE = "/docs"
FILES = "/docs/files"


def add_docs(app: FastAPI) -> None:
    """Add the page and its files; its URLs are relative, so that it works behind a path prefix."""
    files = FILES.removeprefix("/")
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=app.title,
        swagger_js_url=f"{files}/swagger-ui-bundle.js",
        swagger_css_url=f"{files}/swagger-ui.css",
        swagger_favicon_url=f"{files}/favicon-32x32.png",
    )

    async def docs(_: Request) -> Response:
        return page

    app.add_route(PAGE, docs, include_in_schema=False)
    app.mount(FILES, StaticFiles(packages=[("fastapi_swagger", "resources")]))
