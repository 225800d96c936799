"""A venue's port: WebSocket and REST on one address, served by aiohttp."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from aiohttp import ClientConnectionResetError, WSCloseCode, WSMsgType, web

from alphapulse.errors import ServiceError
from producers.venue_server.session import SessionAnswer, VenueSession
from producers.venue_server.wire import is_text, joined

MAX_MESSAGE_BYTES = 1 << 20
"""Maximum size of a client's message; 1024 stream names fit."""

JSON = "application/json"


class ConnectionGone(Exception):
    """The client disconnected during a send."""


class ClientConnection:
    """Connection of one client.

    Attributes:
        session: state of the client's session.
        last_sent: monotonic time in seconds at which the last frame was passed to the socket.
    """

    def __init__(
        self, socket: web.WebSocketResponse, session: VenueSession, transport: asyncio.Transport | None = None
    ) -> None:
        self._socket = socket
        self._transport = transport
        self.session = session
        self.last_sent = time.monotonic()

    @property
    def lost(self) -> bool:
        """Whether the connection ended without a Close frame."""
        return self._socket.close_code in (None, WSCloseCode.ABNORMAL_CLOSURE)

    async def send(self, frame: bytes) -> None:
        """Send ``frame`` in this client's form; waits while the client's socket accepts no more.

        Bytes that are not UTF-8 are sent as a binary message; a text message must not contain them.

        Raises:
            ConnectionGone: the client has disconnected.
        """
        frame = self.session.outgoing(frame)
        opcode = WSMsgType.TEXT if frame.isascii() or is_text(frame) else WSMsgType.BINARY
        try:
            await self._socket.send_frame(frame, opcode)
        except (ClientConnectionResetError, ConnectionError) as error:
            raise ConnectionGone from error
        self.last_sent = time.monotonic()

    async def send_all(self, frames: Sequence[bytes]) -> None:
        """Send ``frames`` like :meth:`send`, but in one write: a tenth of the cost per frame.

        Raises:
            ConnectionGone: the client has disconnected.
        """
        if len(frames) > 1 and self._transport is not None:
            if self._socket.closed or self._transport.is_closing():
                raise ConnectionGone
            self._transport.write(joined([self.session.outgoing(frame) for frame in frames[:-1]]))
        if frames:
            await self.send(frames[-1])  # waits until the socket has accepted all of them

    async def pong(self, payload: bytes) -> None:
        """Answer a ping; may raise ConnectionGone."""
        try:
            await self._socket.pong(payload)
        except (ClientConnectionResetError, ConnectionError) as error:
            raise ConnectionGone from error

    async def close(self, code: int = WSCloseCode.GOING_AWAY, reason: str = "") -> None:
        """Close the connection; no effect if it is closed."""
        await self._socket.close(code=code, message=reason.encode())

    def cut(self, frame: bytes = b"") -> None:
        """Close the connection without a Close frame, in the middle of ``frame`` if one is given."""
        if self._transport is None or self._transport.is_closing():
            return
        if frame:
            # A text frame of that length, unmasked (RFC 6455, 5.2), of which only half is sent.
            self._transport.write(b"\x81\x7f" + len(frame).to_bytes(8, "big") + frame[: len(frame) // 2])
        self._transport.close()

    def abort(self) -> None:
        """Abort the connection: the client does not read what waits in its socket."""
        if self._transport is not None:
            self._transport.abort()


class Host(Protocol):
    """Backend of a venue's port."""

    def session(self) -> VenueSession:
        """Return the session of a new connection."""
        ...

    def connected(self, connection: ClientConnection) -> None:
        """Handle a new connection."""
        ...

    def pongs(self) -> bool:
        """Whether pings of clients are currently answered."""
        ...

    async def answered(self, connection: ClientConnection, answer: SessionAnswer) -> None:
        """Send the replies of ``answer`` and apply its subscriptions; may raise ConnectionGone."""
        ...

    def disconnected(self, connection: ClientConnection) -> None:
        """Handle a closed connection."""
        ...

    async def rest(self, path: str, query: Mapping[str, str]) -> web.Response:
        """Answer a REST request; cancelled when its client disconnects."""
        ...


class Guard(Protocol):
    """Enforces the venue's limits."""

    pings_count: bool
    """Whether :meth:`heard` must be called for pings and pongs."""

    def connecting(self) -> float:
        """Return the seconds until a client may connect; 0: now, and the connection is counted."""
        ...

    def heard(self, connection: ClientConnection, *, control: bool = False, ping: bool = False) -> bool:
        """Whether a client's message (a WebSocket control frame, a text ping or another) is within the limits."""
        ...


class Listener:
    """Listening port of one venue.

    Args:
        host: the backend.
        guard: enforces the venue's limits; None: no limits.
        ping_seconds: interval of pings to clients; None: only clients' pings are answered.
        strict: whether a client that does not answer a ping is disconnected, as the venue does.
    """

    def __init__(
        self, host: Host, *, guard: Guard | None = None, ping_seconds: float | None = None, strict: bool = False
    ) -> None:
        self._host = host
        self._guard = guard
        self._ping_seconds = ping_seconds
        self._strict = strict
        self._runner: web.AppRunner | None = None
        self._connections: set[ClientConnection] = set()

    async def open(self, address: str, port: int) -> int:
        """Start listening; return the port (a free one if ``port`` is 0).

        Raises:
            ServiceError: the port is in use or not permitted.
        """
        app = web.Application()
        app.router.add_get("/{path:.*}", self._serve)
        # A cancelled request must not consume a recorded answer.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True)
        await runner.setup()
        try:
            await web.TCPSite(runner, address, port).start()
        except OSError as error:
            await runner.cleanup()
            raise ServiceError(f"port: cannot listen on {address}:{port}: {error.strerror or error}") from error
        self._runner = runner
        taken: int = runner.addresses[0][1]
        return taken

    async def close(self) -> None:
        """Close all connections and stop listening."""
        await asyncio.gather(*(connection.close() for connection in list(self._connections)))
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if "upgrade" in request.headers.get("Connection", "").lower():
            return await self._converse(request)
        return await self._host.rest(request.path, request.query)

    async def _converse(self, request: web.Request) -> web.StreamResponse:
        guard = self._guard
        if guard is not None and (wait := guard.connecting()) > 0:
            return json_response(b"{}", status=429, headers={"Retry-After": str(math.ceil(wait))})
        socket = web.WebSocketResponse(
            autoping=False,
            compress=False,
            max_msg_size=MAX_MESSAGE_BYTES,
            heartbeat=self._ping_seconds if self._strict else None,
            writer_limit=0,  # sending waits whenever the socket accepts no more
        )
        await socket.prepare(request)
        session = self._host.session()
        connection = ClientConnection(socket, session, request.transport)
        self._connections.add(connection)
        self._host.connected(connection)
        pings = asyncio.create_task(self._ping(socket)) if self._ping_seconds and not self._strict else None
        try:
            opening = session.opened(request.path, request.query)
            opening.replies = [*session.greeting(time.time_ns()), *opening.replies]
            await self._host.answered(connection, opening)
            async for message in socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    data = message.data.encode() if isinstance(message.data, str) else message.data
                    answer = self._answer(connection, data)
                elif message.type in (WSMsgType.PING, WSMsgType.PONG):
                    allowed = guard is None or not guard.pings_count or guard.heard(connection, control=True)
                    answer = SessionAnswer() if allowed else None
                    if message.type is WSMsgType.PING and self._host.pongs():
                        await connection.pong(message.data)
                else:
                    continue
                if answer is None:
                    await connection.close(WSCloseCode.POLICY_VIOLATION, "Too many requests")
                    break
                await self._host.answered(connection, answer)
        except ConnectionGone:
            pass  # a normal end; the host is notified below
        finally:
            if pings is not None:
                pings.cancel()
            self._connections.discard(connection)
            self._host.disconnected(connection)
        return socket

    def _answer(self, connection: ClientConnection, message: bytes) -> SessionAnswer | None:
        """Return the answer to a message; None: the message exceeds the limit."""
        session, now = connection.session, time.time_ns()
        ping = session.is_ping(message)
        allowed = self._guard is None or self._guard.heard(connection, ping=ping)
        if allowed and (ping or not session.rations()):
            return session.received(message, now)
        return session.too_many(message, now)

    async def _ping(self, socket: web.WebSocketResponse) -> None:
        assert self._ping_seconds is not None  # noqa: S101 the task is only made then
        while not socket.closed:
            await asyncio.sleep(self._ping_seconds)
            try:
                await socket.ping(str(int(time.time() * 1000)).encode())
            except (ClientConnectionResetError, ConnectionError):
                return


def json_response(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a response with ``body``, which is JSON text."""
    return web.Response(body=body, status=status, content_type=JSON, headers=headers)


def not_found() -> web.Response:
    """Return the answer for an unknown path."""
    return json_response(b'{"message":"NotFound"}', status=404)
