"""Exports: results that are streamed however long they are; how many at a time, and to whom for how long."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Hashable, Mapping
from typing import Final

from fastapi import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from alphapulse import logs
from gateway.access.address import network_of
from gateway.access.errors import CONNECTION_LIMITED, AccessRefused
from gateway.access.http import client_of, identity_of
from gateway.access.identity import EVERYONE

MOST: Final = 32
"""Exports at a time."""
MOST_OF_ONE: Final = 4
"""Exports at a time of one identity; of one address where clients have no credentials."""
RETRY_SECONDS: Final = 10.0
STALL_SECONDS: Final = 30.0
"""Time after which an export whose client takes nothing is ended."""
PIECE: Final = 64 * 2**10
"""Bytes handed to the connection at a time: compressed in about a millisecond, and a slow client takes one in time."""

_log = logs.get("gateway.rest")


class Exports:
    """Counts the exports under way.

    Args:
        most: at a time.
        most_of_one: at a time, of one owner.
    """

    def __init__(self, most: int = MOST, most_of_one: int = MOST_OF_ONE) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._open: Counter[Hashable | None] = Counter()

    def enter(self, owner: Hashable | None) -> Place:
        """Take a place of ``owner``; None: of nobody, who has no maximum of its own.

        Raises:
            AccessRefused: ``connection_limit``; there is none left.
        """
        if owner is not None and self._open[owner] >= self._most_of_one:
            raise AccessRefused(
                CONNECTION_LIMITED,
                f"at most {self._most_of_one} exports of a client at a time",
                retry_after=RETRY_SECONDS,
            )
        if self._open.total() >= self._most:
            raise AccessRefused(
                CONNECTION_LIMITED, f"at most {self._most} exports of all clients at a time", retry_after=RETRY_SECONDS
            )
        self._open[owner] += 1
        return Place(self, owner)

    def left(self, owner: Hashable | None) -> None:
        """Give a place of ``owner`` back."""
        self._open[owner] -= 1
        if not self._open[owner]:
            del self._open[owner]

    def __len__(self) -> int:
        """Return the number of exports under way."""
        return self._open.total()


class Place:
    """A place of an export."""

    def __init__(self, of: Exports, owner: Hashable | None) -> None:
        self._of = of
        self._owner = owner
        self._held = True

    def release(self) -> None:
        """Give it back, once."""
        if self._held:
            self._held = False
            self._of.left(self._owner)


def owner_of(request: Request) -> Hashable | None:
    """Return whose exports are counted together; None: a client on this machine without credentials, as for limits."""
    identity = identity_of(request)
    if not identity.same_as(EVERYONE):
        return identity.name, identity.key
    address = client_of(request)
    return None if address.local else network_of(address.text)


def exports_of(request: Request) -> Exports:
    """Return the exports of the application (``app.state.exports``)."""
    exports: Exports = request.app.state.exports
    return exports


class _Stalled(Exception):
    """The client takes nothing."""


class ExportResponse(StreamingResponse):
    """Streams ``parts``, closes them at the end, and gives ``place`` back.

    A client that takes nothing for ``stall_seconds`` ends it: the body is cut off.
    """

    def __init__(
        self,
        parts: AsyncGenerator[bytes, None],
        place: Place,
        headers: Mapping[str, str],
        media_type: str,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        super().__init__(in_pieces(parts), 200, headers, media_type)
        self._parts = parts
        self._place = place
        self._stall_seconds = stall_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def taken(message: Message) -> None:
            try:
                async with asyncio.timeout(self._stall_seconds):
                    await send(message)
            except TimeoutError:
                raise _Stalled from None

        try:
            await super().__call__(scope, receive, taken)
        except _Stalled:
            # Without its last chunk the response is not complete, so the server closes the connection.
            _log.warning(
                "export ended", path=scope["path"], reason=f"the client took nothing for {self._stall_seconds:g} s"
            )
        finally:
            self._place.release()
            await self._parts.aclose()


async def in_pieces(parts: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Yield ``parts`` in pieces of at most :data:`PIECE` bytes; others run between two of them."""
    async for part in parts:
        view = memoryview(part)
        for begin in range(0, len(view), PIECE):
            yield bytes(view[begin : begin + PIECE])
            await asyncio.sleep(0)


class LargeResponse(Response):
    """A response whose body is sent, and compressed, in pieces: as a whole it would hold the loop up for long."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if len(self.body) <= PIECE:
            await super().__call__(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        view = memoryview(self.body)
        for begin in range(0, len(view), PIECE):
            more = begin + PIECE < len(view)
            await send({"type": "http.response.body", "body": bytes(view[begin : begin + PIECE]), "more_body": more})
            await asyncio.sleep(0)
