"""WebSocket of one client with synchronous writes, on top of uvicorn's protocol class.

ASGI's ``send`` takes one message for one client and cannot abort a connection. The fan-out needs both: one frame,
encoded once, written to hundreds of connections in the same tick without a task for each; and an abort for a client
that reads nothing, whose close frame would wait behind its own full buffer for ever. So :class:`StreamProtocol` adds
itself to the ASGI scope (extension ``alphapulse.wire``); handshake, receiving and ping remain uvicorn's.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, cast

from starlette.types import Scope
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode as StandardCode
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State

from gateway.close_codes import NO_PONG, CloseCode

_FINAL: Final = 0x80
_MEDIUM: Final = struct.Struct("!BBH")
_LONG: Final = struct.Struct("!BBQ")

EXTENSION: Final = "alphapulse.wire"
WRITE_BUFFER: Final = 128 * 1024
"""Maximum bytes in the transport (the kernel's buffer comes on top); the outbox holds the rest."""
CLOSE_SECONDS: Final = 5.0
"""A client that has not finished the closing handshake by then is disconnected."""


class Wire(Protocol):
    """Connection of a session."""

    @property
    def can_write(self) -> bool:
        """Whether the connection is open and its buffer below the mark."""
        ...

    def write(self, frame: bytes) -> None:
        """Write one frame made by :func:`text_frame` or :func:`frame_of`."""
        ...

    def close(self, code: CloseCode) -> None:
        """Send the close frame after what is already written; disconnects a client that does not answer."""
        ...


def text_frame(text: str) -> bytes:
    """Return a WebSocket text frame (RFC 6455 5.2): a server does not mask, so all clients get the same bytes."""
    return frame_of(Opcode.TEXT, text.encode())


def frame_of(opcode: Opcode, payload: bytes) -> bytes:
    """Return a whole message as one WebSocket frame.

    Not by :meth:`websockets.frames.Frame.serialize`, which checks and masks: clients with subscriptions of their own
    share no frames, so that there is one for each client and tick.
    """
    length = len(payload)
    if length < 126:
        head = bytes((_FINAL | opcode, length))
    elif length < 65_536:
        head = _MEDIUM.pack(_FINAL | opcode, 126, length)
    else:
        head = _LONG.pack(_FINAL | opcode, 127, length)
    return head + payload


def wire_of(scope: Scope) -> StreamProtocol:
    """Return the connection behind an ASGI scope; the server must be run with :class:`StreamProtocol`."""
    return cast("StreamProtocol", scope["extensions"][EXTENSION])


class StreamProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol, open to synchronous writes.

    Attributes:
        drained: called when the buffer can be written to again.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.drained: Callable[[], None] | None = None
        self._unsent_pong = b""

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.handshake_complete:  # refused: there is no scope
            return
        # The application's task was created just now and has not run yet: it will find the extension.
        cast("dict[str, Any]", self.scope["extensions"])[EXTENSION] = self
        self.transport.set_write_buffer_limits(high=WRITE_BUFFER)

    def shutdown(self) -> None:
        super().shutdown()
        # Flushing to a client that reads nothing would delay the process until its grace period ends.
        self.close_timer = self.loop.call_later(1.0, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unsent_pong and self.can_write:
            self.transport.write(self._unsent_pong)
        self._unsent_pong = b""
        if self.drained is not None:
            self.drained()

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        # uvicorn 0.54 does not, and would log each refused handshake as an error of the application:
        # https://github.com/Kludex/uvicorn/pull/3138
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True

    @property
    def can_write(self) -> bool:
        return self.conn.state is State.OPEN and not self.disconnected and self.writable.is_set()

    def write(self, frame: bytes) -> None:
        self.transport.write(frame)

    def close(self, code: CloseCode) -> None:
        if self.close_sent or self.disconnected or self.conn.state is not State.OPEN:
            return
        self.stop_keepalive()
        self.conn.send_close(code.number, code.reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code.number, "reason": code.reason})
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        # uvicorn's own timer would flush first, which never ends for a client that reads nothing.
        self.close_timer = self.loop.call_later(CLOSE_SECONDS, self.transport.abort)

    def keepalive_timeout(self) -> None:
        self.close(NO_PONG)

    # --- clients that break the protocol, or mean no good -----------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            # A header line is too long, or there are too many: uvicorn 0.54 leaves the answer (431) unsent and the
            # connection open.
            self.handshake_initiated = self.handshake_complete = self.close_sent = True
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def handle_ping(self) -> None:
        pongs = self.conn.data_to_send()
        if self.writable.is_set():
            self.transport.write(b"".join(pongs))
        elif pongs:
            # Whoever pings and reads nothing would fill the memory with pongs. Only the latest ping has to be answered
            # (RFC 6455, 5.5.3).
            self._unsent_pong = pongs[-1]

    def handle_cont(self, event: Frame) -> None:
        # An empty fragment counts for no limit, and a message may have any number of them.
        if event.data or event.fin:
            super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text" and not _is_text(self.frames):
            self.frames = []
            # The client may have begun to close already. (uvicorn would log a traceback for each such message.)
            if self.conn.state is State.OPEN:
                self.conn.send_close(StandardCode.INVALID_DATA, "not UTF-8 text")
                self.handle_parser_exception()
            return
        super().send_receive_event_to_app()

    def handle_close(self, event: Frame) -> None:
        super().handle_close(event)
        self._cut_later()

    def handle_parser_exception(self) -> None:
        super().handle_parser_exception()
        self._cut_later()

    def _cut_later(self) -> None:
        """Disconnect a closing client that does not read the rest: flushing to it would never end."""
        if self.close_timer is None and not self.disconnected:
            self.close_timer = self.loop.call_later(CLOSE_SECONDS, self.transport.abort)


def _is_text(fragments: Sequence[bytes]) -> bool:
    """Return whether the fragments of a message are UTF-8 together."""
    try:
        b"".join(fragments).decode()
    except UnicodeDecodeError:
        return False
    return True
