"""Requests with a body: JSON, and not too long."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from alphapulse.errors import RequestRefused
from gateway.rest.presence import ClientGone

BODY_BYTES: Final = 16_384


class BodyTooLarge(RequestRefused):
    """The body is too long."""

    def __init__(self) -> None:
        super().__init__("too_large", f"the body is larger than {BODY_BYTES:,} bytes")


class WrongMediaType(RequestRefused):
    """The body is not JSON."""

    def __init__(self, found: str) -> None:
        super().__init__("media_type", f"header Content-Type: must be application/json, found {found[:80]!r}")


class JsonBodyRoute(APIRoute):
    """Route whose POST has a JSON body; what is not one is refused before it is parsed."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def checked(request: Request) -> Response:
            if request.method == "POST":
                kind = request.headers.get("content-type", "")
                if kind.partition(";")[0].strip().lower() != "application/json":
                    raise WrongMediaType(kind)
                body = await _body(request)
                try:
                    body.decode()
                except UnicodeDecodeError as error:
                    raise RequestRefused("bad_value", f"body: not UTF-8 text: {error.reason}") from error
                request = Request(request.scope, _bounded(body))
            try:
                return await handler(request)
            except HTTPException as error:
                if error.status_code != 400:
                    raise
                # FastAPI's, for what its parser gives up at.
                raise RequestRefused(
                    "bad_value", "body: JSON that cannot be read: nested too deep, or a number of too many digits"
                ) from error

        return checked


async def _body(request: Request) -> bytes:
    """Return the body.

    Raises:
        BodyTooLarge: it is longer than ``BODY_BYTES``; the rest is not read.
        ClientGone: the client disconnects before its end.
    """
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > BODY_BYTES:
                raise BodyTooLarge
            parts.append(part)
    except ClientDisconnect:
        raise ClientGone from None
    return b"".join(parts)


def _bounded(body: bytes) -> Callable[[], Coroutine[Any, Any, dict[str, Any]]]:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
