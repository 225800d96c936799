"""Dashboard files at ``/``, and the security headers of every response."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FOLDER: Final = Path(__file__).parent / "static"
DOCUMENTATION: Final = "/api/docs"
"""Swagger UI, built with the page: one of its folders (``index.html``; assets are shared with the page)."""

_NOT_BUILT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>AlphaPulse: page not built</title>
<h1>The gateway is running, but its page is not built</h1>
<p>Build it with <code>cd gateway/dashboard &amp;&amp; npm ci &amp;&amp; npm run build</code>, then reload this
page.</p> <p>The interfaces are available: REST (<code>/api/openapi.json</code>), <code>/ws/v2</code>.</p>
</html>
"""

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
# Swagger UI styles its elements inline and loads icons from data URLs; its scripts come from here like all others.
_DOCUMENTATION_POLICY: Final = f"{_POLICY}; style-src 'self' 'unsafe-inline'"


class Page(StaticFiles):
    """The built dashboard, or a page with build instructions."""

    def __init__(self, folder: Path = FOLDER) -> None:
        super().__init__(directory=folder, html=True, check_dir=False)
        self._folder = folder

    async def check_config(self) -> None:
        """Accept a missing folder: the page is not built yet."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        page = path in (".", "index.html") or path.startswith(DOCUMENTATION.strip("/"))
        # Nothing is cached from the start, so a later build is served at once.
        if page and not (self._folder / "index.html").is_file():
            return HTMLResponse(_NOT_BUILT, status_code=503)
        response = await super().get_response(path, scope)
        # Built files have a digest in their names; the page that refers to them does not.
        fixed = path.startswith("assets/") and response.status_code == 200
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if fixed else "no-cache"
        return response


class SecurityHeaders:
    """ASGI middleware: security headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one connection or request; no coroutine of its own stays with a WebSocket."""
        return (self._app if scope["type"] != "http" else self._secured)(scope, receive, send)

    async def _secured(self, scope: Scope, receive: Receive, send: Send) -> None:
        policy = _DOCUMENTATION_POLICY if scope["path"].startswith(f"{DOCUMENTATION}/") else _POLICY

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers["Content-Security-Policy"] = policy
            await send(message)

        await self._app(scope, receive, send_with_headers)
