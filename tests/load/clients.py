"""Many WebSocket clients in one process: cheap enough to measure a server, not themselves.

One thread with epoll, no client library: a frame is counted by its head, and only on sampled connections is its text
searched for the time it carries. So 1,000 connections with 20,000 messages a second take less than half a core.
"""

from __future__ import annotations

import re
import resource
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

from websockets.frames import Frame, Opcode

_TIME = re.compile(rb'"time":(\d{16})')
"""A message's time in µs since the Unix epoch, as the stream writes it."""
HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{more}\r\n"
)
CONNECT_SECONDS = 30.0
RECEIVE = 262_144


@dataclass(frozen=True, slots=True)
class Target:
    """Server under load.

    Attributes:
        host, port, path: of its WebSocket.
        headers: further lines of the handshake, each ended by CR LF.
        pings: text that the server sends now and then and wants back (Centrifugo's ``{}``); empty: none.
    """

    host: str
    port: int
    path: str
    headers: str = ""
    pings: bytes = b""


@dataclass(slots=True)
class Counts:
    """What clients received.

    Attributes:
        messages, frames, size: messages, WebSocket frames, bytes of payload.
        ages: of sampled messages, milliseconds from their ``time`` to their receipt.
        closed: connections that the server closed.
    """

    messages: int = 0
    frames: int = 0
    size: int = 0
    closed: int = 0
    ages: list[float] = field(default_factory=list)

    def add(self, other: Counts) -> None:
        """Add another process's counts."""
        self.messages += other.messages
        self.frames += other.frames
        self.size += other.size
        self.closed += other.closed
        self.ages += other.ages


def client_frame(text: str) -> bytes:
    """Return a WebSocket text frame of a client (masked)."""
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=True)


class _Client:
    """One connection: its unread bytes, and whether its messages are looked into."""

    __slots__ = ("buffer", "sampled", "socket")

    def __init__(self, connection: socket.socket, *, sampled: bool) -> None:
        self.socket = connection
        self.buffer = b""
        self.sampled = sampled


def connect(target: Target, messages: Sequence[str], *, receive_buffer: int = 0) -> socket.socket:
    """Open a connection and send ``messages``.

    Args:
        target: server.
        messages: texts sent after the handshake, in order.
        receive_buffer: size of the kernel's receive buffer, for clients that read nothing; 0: the default.

    Raises:
        OSError: the server cannot be reached or refuses the handshake.
    """
    made = socket.socket()
    if receive_buffer:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        _shake_hands(made, target)
    except BaseException:
        made.close()
        raise
    for text in messages:
        made.sendall(client_frame(text))
    return made


def _shake_hands(made: socket.socket, target: Target) -> None:
    made.settimeout(CONNECT_SECONDS)
    made.connect((target.host, target.port))
    made.sendall(
        HANDSHAKE.format(path=target.path, host=target.host, port=target.port, more=target.headers).encode("ascii")
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        received = made.recv(1)
        if not received:
            raise OSError(f"{target.host}:{target.port} closed the connection during the handshake")
        answer += received
    status = answer.split(b"\r\n", 1)[0].decode("latin-1")
    if " 101 " not in status:
        raise OSError(f"{target.host}:{target.port}{target.path}: {status}")


class Clients:
    """Clients of one process; a context manager that closes their connections.

    Args:
        target: server.
        sample: messages of every n-th connection are looked into for their age.
    """

    def __init__(self, target: Target, *, sample: int = 10) -> None:
        self._target = target
        self._sample = sample
        self._selector = selectors.DefaultSelector()
        self._silent: list[socket.socket] = []
        self.counts = Counts()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for key in list(self._selector.get_map().values()):
            key.data.socket.close()
        for each in self._silent:
            each.close()
        self._selector.close()

    def open(self, messages: Sequence[Sequence[str]]) -> None:
        """Open a connection for each sequence of texts to send."""
        for number, texts in enumerate(messages):
            made = connect(self._target, texts)
            made.setblocking(False)
            self._selector.register(made, selectors.EVENT_READ, _Client(made, sampled=number % self._sample == 0))

    def open_silent(self, messages: Sequence[Sequence[str]]) -> None:
        """Open connections that never read."""
        self._silent += [connect(self._target, texts, receive_buffer=4096) for texts in messages]

    def read(self, until: Callable[[], bool]) -> None:
        """Read what comes until ``until`` is true (asked at least ten times a second)."""
        while not until():
            for key, _ in self._selector.select(timeout=0.1):
                self._take(key.data)

    def reset(self) -> Counts:
        """Return what was received so far, and count from 0 again."""
        counted, self.counts = self.counts, Counts()
        return counted

    def _take(self, client: _Client) -> None:
        try:
            received = client.socket.recv(RECEIVE)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self._selector.unregister(client.socket)
            client.socket.close()
            self.counts.closed += 1
            return
        now = time.time_ns() // 1000 if client.sampled else 0
        data = client.buffer + received if client.buffer else received
        start, size = 0, len(data)
        while (head := _head(data, start)) is not None:
            begin, length = head
            end = begin + length
            if end > size:
                break
            if data[start] & 0x0F in (Opcode.TEXT, Opcode.BINARY):
                self._message(client, data, begin, end, now)
            start = end
        client.buffer = data[start:]

    def _message(self, client: _Client, data: bytes, begin: int, end: int, now: int) -> None:
        if self._target.pings and data[begin:end].strip() == self._target.pings:
            client.socket.send(client_frame(self._target.pings.decode("ascii")))
            return
        counts = self.counts
        counts.frames += 1
        counts.size += end - begin
        # The last line may or may not end in a newline.
        counts.messages += data.count(b"\n", begin, end) + (not data.endswith(b"\n", begin, end))
        if client.sampled:
            counts.ages += [(now - int(found)) / 1000 for found in _TIME.findall(data, begin, end)]


def _head(data: bytes, start: int) -> tuple[int, int] | None:
    """Return where the payload of the frame at ``start`` begins, and its length; None: the head is not complete."""
    left = len(data) - start
    if left < 2:
        return None
    length = data[start + 1] & 0x7F
    if length < 126:
        return start + 2, length
    wide = 2 if length == 126 else 8
    if left < 2 + wide:
        return None
    return start + 2 + wide, int.from_bytes(data[start + 2 : start + 2 + wide], "big")


def work(
    target: Target, messages: Sequence[Sequence[str]], silent: Sequence[Sequence[str]], orders: Connection
) -> None:
    """Be one process of clients: connect, say ``"ready"``, then answer each order with the counts since the last."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Clients(target) as clients:
        try:
            clients.open(messages)
            clients.open_silent(silent)
        except OSError as error:
            orders.send(f"cannot connect: {error}")
            return
        orders.send("ready")
        while True:
            clients.read(orders.poll)
            orders.recv()
            orders.send(clients.reset())
