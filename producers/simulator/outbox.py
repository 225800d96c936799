"""Send queue of one client: bounded in bytes, written by its own task."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from producers.venue_server.listener import ClientConnection, ConnectionGone

BOUND_BYTES = 8 << 20
"""A client further behind than this is disconnected, as the venues do."""


class ClientOutbox:
    """Frames queued for a client.

    Args:
        connection: of the client.
        bound: maximum bytes queued.
    """

    def __init__(self, connection: ClientConnection, bound: int = BOUND_BYTES) -> None:
        self.connection = connection
        self._bound = bound
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._news = asyncio.Event()
        self._last: bytes | None = None
        self._writer = asyncio.create_task(self._write())

    def put(self, frames: Sequence[bytes]) -> bool:
        """Queue ``frames``; return False and queue none if the bound would be exceeded."""
        size = sum(map(len, frames))
        if self._bytes + size > self._bound:
            return False
        self._waiting.extend(frames)
        self._bytes += size
        self._news.set()
        return True

    def cut(self, frame: bytes) -> None:
        """Disconnect the client after the queued frames: in the middle of ``frame`` if it is not empty."""
        self._last = frame
        self._news.set()

    def close(self) -> None:
        """Discard the queue and stop writing."""
        self._waiting.clear()
        self._writer.cancel()

    async def _write(self) -> None:
        try:
            while True:
                while self._waiting:
                    frames, size = self._waiting, self._bytes
                    self._waiting = []
                    await self.connection.send_all(frames)
                    self._bytes -= size
                if self._last is not None:
                    self.connection.cut(self._last)
                    return
                self._news.clear()
                await self._news.wait()
        except ConnectionGone:
            return  # the listener notifies the venue
