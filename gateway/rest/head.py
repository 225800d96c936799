"""HEAD for every GET (RFC 9110, 9.3.2): the same response without its body."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_MARK: Final = "alphapulse.head"


def is_head(scope: Scope) -> bool:
    """Return whether the request was a HEAD; a body that is costly to make need not be made."""
    return bool(scope.get(_MARK))


class HeadAsGet:
    """ASGI middleware: runs HEAD as GET and leaves the body out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET", _MARK: True}, receive, send_head)
