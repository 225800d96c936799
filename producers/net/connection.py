"""WebSocket connection to a venue, from handshake to close."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidStatus,
    InvalidURI,
    WebSocketException,
)

from producers.feed.venue import Limit, Venue
from producers.net.rate_limit import PAUSING, Allowance, RateLimiter, stated_seconds
from producers.net.websocket import FrameSocket

CLOSE_SECONDS = 1.0
_REPAIR_MESSAGES = 2
"""Unsubscribe, subscribe."""
_REFUSING = (400, 404, 414)
"""Handshake statuses of an address that is malformed, unknown or too long."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Disconnected(Exception):
    """The connection could not be opened or was lost; the message is the reason.

    Attributes:
        retry_after: seconds for which the venue allows no further connection.
        of_address: whether the venue refused the address itself.
    """

    def __init__(self, reason: str, retry_after: float = 0.0, *, of_address: bool = False) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.of_address = of_address


class VenueConnection:
    """WebSocket connection: reads as fast as ``receive`` allows, sends within the rate limit, detects silence.

    Args:
        venue: for its limits.
        url: address to connect to.
        receive: takes each frame. While it accepts no more the socket is not read, so that TCP applies backpressure to
            the venue.
        room: waits until more can be accepted.
        messages: rate limiter for messages, if all connections share one.
        exhausted: called once when the venue's request limit for this connection is exhausted. Further requests wait;
            another connection should be opened.

    Attributes:
        held_back: whether the socket is currently not read.
    """

    def __init__(
        self,
        venue: Venue,
        url: str,
        receive: Callable[[bytes], bool],
        room: Callable[[], Awaitable[None]],
        messages: RateLimiter | None = None,
        exhausted: Callable[[], None] = lambda: None,
    ) -> None:
        self._venue = venue
        self._url = url
        self._receive = receive
        self._room = room
        self._outbox: asyncio.Queue[str] = asyncio.Queue()
        self._messages = messages if messages is not None else message_gate(venue)
        self._requests = Allowance(venue.requests)
        self._exhausted = exhausted
        self._was_exhausted = False
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._reason = ""
        self._dropped = asyncio.Event()
        self._socket: FrameSocket | None = None
        self.held_back = False

    def send(self, text: str) -> None:
        """Send ``text`` as soon as the rate limit allows."""
        self._quiet.clear()
        self._outbox.put_nowait(text)

    async def ask(self) -> bool | None:
        """Ping the venue, if its rate limit has room to spare; return whether it answered.

        None: a ping of the venue's own was sent (:attr:`Venue.text_ping`), and the answer will be a frame.
        """
        socket = self._socket
        if socket is None or self.held_back or self._reason or not self._messages.enter_if_idle():
            return False
        try:
            if self._venue.text_ping is not None:
                await socket.send(self._venue.text_ping)
                return None
            await (await socket.ping())
        except ConnectionClosed:  # reported by the reader
            return False
        return True

    @property
    def waiting(self) -> int:
        """Bytes received and not read."""
        return self._socket.waiting if self._socket is not None else 0

    @property
    def told(self) -> bool:
        """Whether everything passed to :meth:`send` is sent."""
        return self._quiet.is_set()

    def drop(self, reason: str) -> None:
        """Close the connection from this side."""
        self._reason = self._reason or reason
        self._dropped.set()
        if self._socket is not None:
            self._socket.discard()

    async def run(self, opened: Callable[[], None]) -> None:
        """Connect, call ``opened``, and read until the connection closes.

        Raises:
            Disconnected: always, with the reason.
        """
        venue = self._venue
        pings = venue.ping_seconds if venue.text_ping is None else None
        try:
            socket = await connect(
                self._url,
                compression=None,  # decompression costs more than decoding the frames
                proxy=None if urlsplit(self._url).hostname in _LOOPBACK else True,
                max_size=venue.frame_bytes,
                ping_interval=pings,
                ping_timeout=pings,
                close_timeout=CLOSE_SECONDS,
                open_timeout=10.0,
                create_connection=FrameSocket,
            )
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI, WebSocketException) as error:
            reason = f"cannot connect to {self._url.partition('?')[0]}: {error!r}"
            refused = isinstance(error, InvalidStatus) and error.response.status_code in _REFUSING
            raise Disconnected(reason, _retry_after(error), of_address=refused) from error
        assert isinstance(socket, FrameSocket)  # noqa: S101 create_connection makes it
        self._socket = socket
        opened()
        helpers = [asyncio.create_task(self._send_all(socket)), asyncio.create_task(self._watch(socket))]
        if venue.text_ping is not None and venue.ping_seconds is not None:
            helpers.append(asyncio.create_task(self._ping(socket, venue.text_ping, venue.ping_seconds)))
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
            await self._take_request()
            await self._messages.enter()
            await socket.send(text)
            if self._outbox.empty():
                self._quiet.set()

    async def _take_request(self) -> None:
        """Wait until the connection's request limit allows another request, and count it."""
        clock = asyncio.get_running_loop().time
        while (delay := self._requests.wait(clock())) > 0:
            if not self._was_exhausted:
                self._was_exhausted = True
                self._exhausted()
            await asyncio.sleep(delay)
        self._requests.spend(clock())

    async def repair_turn(self, symbol: str, waits: Callable[[float], None]) -> None:
        """Wait until a book may be resubscribed: no request waits, and enough of the request limit is left for others.

        Args:
            symbol: of the book.
            waits: called with the seconds to wait for the request limit, if more than one.
        """
        clock = asyncio.get_running_loop().time
        while True:
            async with self._messages.repairs:
                await self._quiet.wait()
                await self._messages.idle()
                delay = self._requests.wait_to_repair(clock(), symbol, _REPAIR_MESSAGES)
                if delay <= 0:
                    self._requests.repaired(clock(), symbol)
                    return  # its requests precede the next repair
            if delay > 1.0:
                waits(delay)
            await asyncio.sleep(delay)

    @property
    def may_retry(self) -> bool:
        """Whether low-priority requests may be sent: none is waiting, and half of the request limit is left."""
        return self.told and not self.held_back and self._requests.wait_to_retry(asyncio.get_running_loop().time()) <= 0

    async def _ping(self, socket: FrameSocket, text: str, seconds: float) -> None:
        # Independent of the requests, which may have to wait and do not count pings.
        while True:
            await asyncio.sleep(seconds)
            await self._messages.enter()
            await socket.send(text)

    async def _watch(self, socket: FrameSocket) -> None:
        """Close the connection when the venue is silent for too long, or on :meth:`drop`."""
        limit = self._venue.silence_seconds
        tick = min(limit / 4, 0.5)  # finite even without a limit, to notice drop()
        heard, silent = -1, 0.0
        while not self._reason:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(tick):
                    await self._dropped.wait()
            come = socket.messages + (socket.pings if self._venue.pinged else 0)
            silent = 0.0 if self.held_back or come != heard else silent + tick
            heard = come
            if silent >= limit:
                self.drop(f"no message received for {limit:g} s")
        await socket.close()


def message_gate(venue: Venue) -> RateLimiter:
    """Return a rate limiter for the venue's limit of messages."""
    return RateLimiter(Limit(max(1.0, venue.messages_per_second), max(1.0, 1 / venue.messages_per_second)))


def _retry_after(error: Exception) -> float:
    """Return the seconds for which a venue that refused the connection allows no further one."""
    if not isinstance(error, InvalidStatus) or error.response.status_code not in PAUSING:
        return 0.0
    return stated_seconds(error.response.headers.get("Retry-After")) or 0.0


def _why(error: ConnectionClosed) -> str:
    if error.rcvd is not None:
        return f"closed by the venue: {error.rcvd.code} {error.rcvd.reason}".rstrip()
    return f"connection lost: {error}"
