"""WebSocket client connection that passes frames to a callback, cut directly from the received bytes.

``websockets`` does the handshake, pings, fragments, closing and protocol errors. Its path for a data frame (a parser
coroutine, an event, a queue, a future) costs as much as all the work of a collector on that frame, and nearly all
frames of a venue are unfragmented and uncompressed. These are parsed here (RFC 6455, section 5.2); all others go
through the library, one complete frame at a time and in order, so that its parser is always at the start of a frame.
"""

from __future__ import annotations

import asyncio
import fcntl
import math
import struct
import termios
from collections.abc import Callable
from typing import Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.frames import DATA_OPCODES, Frame
from websockets.protocol import Event, State

Receive = Callable[[bytes], bool]
"""Receives a message; returns whether the next one may follow."""

TURN_FRAMES: Final = 32
"""Frames passed on per iteration of the event loop: acknowledgements of the broker must not wait for a long backlog."""
READ_AHEAD_BYTES: Final = 1 << 18
"""Maximum bytes buffered here; above it the socket is not read and TCP applies backpressure to the venue."""

_PLAIN: Final = (0x81, 0x82)  # unfragmented text and binary without reserved bits
_RESERVED: Final = 0x70
_CONTROL: Final = 0x08
_PING: Final = 0x89
_MASKED: Final = 0x80
_MOST_CONTROL_BYTES: Final = 125
_HEAD_END: Final = b"\r\n\r\n"
_MOST_HEAD_BYTES: Final = 1 << 16


def frame_span(data: bytes, at: int) -> tuple[int, int]:
    """Return start and end of the payload of the frame at ``at``; the end may lie beyond the bytes received.

    While the header is incomplete, the start lies beyond the bytes received, too.
    """
    here = len(data) - at
    length = data[at + 1] if here >= 2 else 0
    if length < 126:
        return at + 2, at + 2 + length
    if length == 126:
        return at + 4, at + 4 + (int.from_bytes(data[at + 2 : at + 4], "big") if here >= 4 else 0)
    if length == 127:
        return at + 10, at + 10 + (int.from_bytes(data[at + 2 : at + 10], "big") if here >= 10 else 0)
    return at + 2, at + 2  # masked: illegal for a server; the library fails at the second byte


class FrameSocket(ClientConnection):
    """Connection that calls a receiver for each message; ``recv()`` must not be used.

    Nothing is passed on before :meth:`listen`. Everything received before the connection closed is passed on before the
    close is reported, however long the receiver takes.

    Attributes:
        messages: number of messages passed on.
        pings: number of pings received; the library answers them.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.messages = self.pings = 0
        self._receive: Receive | None = None
        self._data = b""
        self._at = 0  # index in _data of the first byte not passed on
        self._arrived: list[bytes] = []  # received after _data
        self._unread = 0  # bytes not passed on, in both
        self._needed = 0  # bytes needed for a complete frame
        self._fragments: list[bytes] = []
        self._held = False  # the receiver accepts no more
        self._scheduled = False
        self._bypassed = False  # all further bytes go to the library: the connection is closing
        self._cutting = False
        self._discarding = False
        self._paused = False
        self._lost: tuple[Exception | None] | None = None  # the close, not reported yet
        self._error: Exception | None = None
        self._halt: asyncio.Future[None] = self.loop.create_future()

    def listen(self, receive: Receive) -> None:
        """Pass messages to ``receive`` from now on. An error it raises is raised by :meth:`halted`."""
        self._receive = receive
        self._turn()

    @property
    def waiting(self) -> int:
        """Bytes received and not passed on, including those in the kernel's buffer."""
        try:
            answer = fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.FIONREAD, bytes(4))
        except (OSError, ValueError):  # it is closed
            return self._unread
        return self._unread + int(struct.unpack("i", answer)[0])

    async def halted(self) -> None:
        """Wait until the receiver accepts no more.

        Raises:
            ConnectionClosed: the connection is closed, and everything received is passed on.
        """
        await self._halt
        if self._error is not None:
            raise self._error
        if self.connection_lost_waiter.done():
            raise self.close_exc
        self._halt = self.loop.create_future()

    def go_on(self) -> None:
        """Resume passing on messages."""
        self._held = False
        self._turn()

    def discard(self) -> None:
        """Pass on nothing more, neither buffered nor future messages."""
        self._discarding, self._held = True, False
        if not self._cutting:  # otherwise called by the receiver itself
            self._bypass()

    # --- callbacks of the transport and the library ---

    def data_received(self, data: bytes) -> None:
        if self._bypassed:
            super().data_received(data)
            return
        self._arrived.append(data)
        if self.protocol.state is State.CONNECTING:
            self._read_head()
            return
        self._unread += len(data)
        if self._idle:
            if self._unread >= self._needed:
                self._turn()
        elif self._unread > READ_AHEAD_BYTES and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def eof_received(self) -> None:
        # Otherwise it waits for the buffered messages, as does connection_lost(), which follows.
        if self._idle:
            self._bypass()
            super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = (exc,)
        if self._idle:
            self._end()

    def process_event(self, event: Event) -> None:
        if not isinstance(event, Frame) or event.opcode not in DATA_OPCODES:
            super().process_event(event)
            return
        self._fragments.append(bytes(event.data))
        if event.fin:
            message = b"".join(self._fragments)
            self._fragments.clear()
            self._hand_over(message)

    # --- reading ---

    @property
    def _idle(self) -> bool:
        """Whether no received message must be passed on before something else may happen."""
        if self._bypassed or self.protocol.state is State.CONNECTING:
            return True
        return self._receive is not None and not self._held and not self._scheduled

    def _read_head(self) -> None:
        """Give the handshake response to the library and keep what follows it."""
        data = b"".join(self._arrived)
        head, end, rest = data.partition(_HEAD_END)
        if not end and len(data) < _MOST_HEAD_BYTES:
            self._arrived = [data]
            return
        self._arrived = []
        super().data_received(head + end)
        if self.protocol.state is not State.OPEN:
            self._bypassed = True
        if rest:
            self.data_received(rest)

    def _turn(self) -> None:
        """Pass on some of the received messages."""
        self._scheduled = False
        if self._receive is None or self._held or self._bypassed:
            return
        more, self._needed = False, 0
        if self.protocol.state is State.OPEN:
            self._cutting = True
            try:
                more = self._cut(self._receive)
            except Exception as error:  # noqa: BLE001 raised again by halted()
                self._fail(error)
            self._cutting = False
        if not more and not self._held and not self._needed:
            self._bypass()
        elif more:
            self._scheduled = True
            self.loop.call_soon(self._turn)
        if self._unread <= READ_AHEAD_BYTES // 2:
            self._resume()
        if self._lost is not None and self._idle:
            self._end()

    def _cut(self, receive: Receive) -> bool:
        """Pass on up to TURN_FRAMES frames; return whether there may be more.

        If not, the receiver accepts no more, a frame is incomplete, or the next frame is not handled here.
        """
        data, at = self._data, self._at
        here, largest = len(data), self.protocol.max_message_size or math.inf
        try:
            for _ in range(TURN_FRAMES):
                begin, end = frame_span(data, at)
                while end > here:
                    if not self._arrived:
                        if begin > here or self._is_lawful(data[at], data[at + 1], end - begin):
                            self._needed = end - at
                        return False
                    data = b"".join((data[at:], *self._arrived)) if at < here else b"".join(self._arrived)
                    self._arrived = []
                    at, here = 0, len(data)
                    begin, end = frame_span(data, at)
                first, second, length = data[at], data[at + 1], end - begin
                if first in _PLAIN and second < _MASKED and length <= largest and not self._fragments:
                    at = end
                    self.messages += 1
                    if not receive(data[begin:end]):
                        self._hold()
                elif self._is_lawful(first, second, length):
                    frame, at = data[at:end], end
                    self.pings += first == _PING
                    super().data_received(frame)
                    if self.protocol.state is not State.OPEN:
                        return False
                else:
                    return False
                if self._held or self._discarding:
                    return False
            return True
        finally:
            self._data, self._at = (data, at) if at < here else (b"", 0)
            self._unread = here - at + sum(map(len, self._arrived))

    def _is_lawful(self, first: int, second: int, length: int) -> bool:
        """Return whether the library will read such a frame to its end; otherwise it fails at the header."""
        if first & _RESERVED or second & _MASKED:
            return False
        if first & _CONTROL:
            return length <= _MOST_CONTROL_BYTES
        return self.protocol.max_message_size is None or length <= self.protocol.max_message_size

    def _hand_over(self, message: bytes) -> None:
        """Pass on a message that the library has read."""
        if self._discarding or self._receive is None:
            return  # the receiver has been discarded
        self.messages += 1
        try:
            if not self._receive(message) and not self._bypassed:
                self._hold()
        except Exception as error:  # noqa: BLE001 raised again by halted()
            self._fail(error)

    def _hold(self) -> None:
        if not self._discarding:
            self._held = True
            self._tell()

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self.discard()
        self._tell()

    def _tell(self) -> None:
        if not self._halt.done():
            self._halt.set_result(None)

    def _bypass(self) -> None:
        """Give all buffered bytes to the library, and all further ones."""
        self._bypassed = True
        data = b"".join((self._data[self._at :], *self._arrived))
        self._data, self._at, self._arrived, self._unread = b"", 0, [], 0
        if data:
            super().data_received(data)
        self._resume()
        if self._lost is not None:
            self._end()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def _end(self) -> None:
        """Report that the connection is closed."""
        if self._lost is not None and not self.connection_lost_waiter.done():
            super().connection_lost(*self._lost)
            self._tell()
