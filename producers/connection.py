"""One WebSocket connection to a venue, from opening to its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI, WebSocketException

from producers.frame_socket import FrameSocket
from producers.limits import Gate, Limit
from producers.venue import Venue

CLOSE_SECONDS = 1.0
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Disconnected(Exception):
    """The connection could not be opened or is no more; the text says why."""


class Connection:
    """A connection: reads as fast as ``taken`` lets it, sends at the venue's pace, notices silence.

    Args:
        venue: its limits.
        url: where to connect.
        receive: takes each frame. While it says that no more can be taken the socket is left alone, so that TCP
            holds the venue back.
        room: waits until more can be taken.

    Attributes:
        held_back: whether the socket is left alone at the moment.
    """

    def __init__(
        self, venue: Venue, url: str, receive: Callable[[bytes], bool], room: Callable[[], Awaitable[None]]
    ) -> None:
        self._venue = venue
        self._url = url
        self._receive = receive
        self._room = room
        self._outbox: asyncio.Queue[str] = asyncio.Queue()
        self._messages = Gate(Limit(max(1.0, venue.messages_per_second), max(1.0, 1 / venue.messages_per_second)))
        self._sending = False
        self._reason = ""
        self._dropped = asyncio.Event()
        self._socket: FrameSocket | None = None
        self.held_back = False

    def send(self, text: str) -> None:
        """Send ``text`` as soon as the venue's limit allows."""
        self._outbox.put_nowait(text)

    @property
    def told(self) -> bool:
        """Whether everything given to :meth:`send` is sent."""
        return self._outbox.empty() and not self._sending

    def drop(self, reason: str) -> None:
        """End the connection from this side."""
        self._reason = self._reason or reason
        self._dropped.set()
        if self._socket is not None:
            self._socket.discard()

    async def run(self, opened: Callable[[], None]) -> None:
        """Connect, call ``opened``, and read until the connection ends.

        Raises:
            Disconnected: always, with the reason.
        """
        venue = self._venue
        pings = venue.ping_seconds if venue.text_ping is None else None
        try:
            socket = await connect(
                self._url,
                compression=None,  # inflating costs more than the frames' own decoding
                proxy=None if urlsplit(self._url).hostname in _LOOPBACK else True,
                max_size=venue.frame_bytes,
                ping_interval=pings,
                ping_timeout=pings,
                close_timeout=CLOSE_SECONDS,
                open_timeout=10.0,
                create_connection=FrameSocket,
            )
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI, WebSocketException) as error:
            raise Disconnected(f"cannot connect to {self._url.partition('?')[0]}: {error!r}") from error
        assert isinstance(socket, FrameSocket)  # noqa: S101 create_connection makes it
        self._socket = socket
        opened()
        helpers = [asyncio.create_task(self._send_all(socket)), asyncio.create_task(self._watch(socket))]
        if venue.text_ping is not None and venue.ping_seconds is not None:
            helpers.append(asyncio.create_task(self._ping(venue.text_ping, venue.ping_seconds)))
        try:
            await self._read(socket)
        except ConnectionClosed as error:
            raise Disconnected(self._reason or _why(error)) from error
        finally:
            for task in helpers:
                task.cancel()
            socket.discard()
            faults = await asyncio.gather(*helpers, return_exceptions=True)
            await socket.close()
            for fault in faults:
                if isinstance(fault, Exception) and not isinstance(fault, ConnectionClosed):
                    raise fault
        raise Disconnected(self._reason)

    async def _read(self, socket: FrameSocket) -> None:
        socket.listen(self._receive)
        while True:
            await socket.halted()
            self.held_back = True
            await self._room()
            self.held_back = False
            socket.go_on()

    async def _send_all(self, socket: FrameSocket) -> None:
        while True:
            text = await self._outbox.get()
            self._sending = True
            await self._messages.enter()
            await socket.send(text)
            self._sending = False

    async def _ping(self, text: str, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            self.send(text)

    async def _watch(self, socket: FrameSocket) -> None:
        """End the connection when the venue says nothing for too long, or when it is to be dropped."""
        limit = self._venue.silence_seconds
        tick = min(limit / 4, 0.5)  # also where the limit is infinite: drop() has to be noticed
        heard, silent = -1, 0.0
        while not self._reason:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(tick):
                    await self._dropped.wait()
            silent = 0.0 if self.held_back or socket.messages != heard else silent + tick
            heard = socket.messages
            if silent >= limit:
                self.drop(f"nothing heard for {limit:g} s")
        await socket.close()


def _why(error: ConnectionClosed) -> str:
    if error.rcvd is not None:
        return f"closed by the venue: {error.rcvd.code} {error.rcvd.reason}".rstrip()
    return f"connection lost: {error}"
