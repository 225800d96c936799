"""WebSocket routes in front of the rest of the application.

A connection keeps every coroutine that it came through for as long as it lasts: FastAPI's router and the middleware of
REST, which do nothing for it, took 8 KB of each.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from fastapi import WebSocket
from starlette.types import ASGIApp, Receive, Scope, Send

Serve: TypeAlias = Callable[[WebSocket], Awaitable[None]]


class StreamRoutes:
    """ASGI middleware that serves WebSockets itself.

    Args:
        app: gets everything else.
        routes: by path.
    """

    def __init__(self, app: ASGIApp, routes: Mapping[str, Serve]) -> None:
        self._app = app
        self._routes = routes

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one connection or request."""
        # No coroutine of its own.
        if scope["type"] == "websocket" and (serve := self._routes.get(scope["path"])) is not None:
            return serve(WebSocket(scope, receive, send))
        return self._app(scope, receive, send)
