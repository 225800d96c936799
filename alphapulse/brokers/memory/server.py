"""Sockets of the in-memory broker: splits each connection's bytes into requests, writes responses in order."""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from typing import Final, cast

from alphapulse import logs
from alphapulse.brokers.memory.node import Body, Later, Node, UnknownRequest
from alphapulse.brokers.memory.wire import Malformed

_SIZE: Final = struct.Struct(">i")
_HEAD: Final = struct.Struct(">hhih")
_CORRELATION: Final = struct.Struct(">ii")


class BrokerConnection(asyncio.Protocol):
    """Connection of one client.

    As in Kafka, a client's requests are answered in order: those behind a pending fetch wait.

    Args:
        node: answers requests.
        most_bytes: maximum size of a request; a larger or malformed one closes the connection.
        connections: contains this one while it is open.
    """

    def __init__(self, node: Node, most_bytes: int, connections: set[BrokerConnection]) -> None:
        self._node = node
        self._most = most_bytes
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._requests: deque[memoryview] = deque()
        self._pending: Later | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin (called by the loop)."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not one of asyncio's classes
        self._connections.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        """Cancel the client's pending requests (called by the loop)."""
        self._connections.discard(self)
        self._transport = None
        self._requests.clear()
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.abandoned()

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Process received bytes (called by the loop)."""
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < _SIZE.size or len(self._buffer) < _SIZE.size + _SIZE.unpack_from(self._buffer)[0]:
                return
            data, self._buffer = bytes(self._buffer), bytearray()
        view = memoryview(data)
        at = 0
        while len(view) - at >= _SIZE.size:
            (size,) = _SIZE.unpack_from(view, at)
            if not _HEAD.size <= size <= self._most:
                self._refuse(f"a request of {size} bytes; the maximum is {self._most}")
                return
            if len(view) - at - _SIZE.size < size:
                break
            at += _SIZE.size
            self._requests.append(view[at : at + size])
            at += size
        if at < len(view):
            self._buffer += view[at:]
        self._work()

    def _refuse(self, reason: str) -> None:
        logs.get("broker").warning("connection closed", reason=reason)
        self.close()

    def _work(self) -> None:
        """Answer requests until one has to wait."""
        while self._requests and self._pending is None and self._transport is not None:
            request = self._requests.popleft()
            key, version, correlation, length = _HEAD.unpack_from(request)
            at = _HEAD.size + max(length, 0)
            try:
                client = str(request[_HEAD.size : at], "utf-8", "replace")
                answer = self._node.answer(key, version, client, request[at:])
            except (UnknownRequest, Malformed, ValueError, struct.error) as error:
                self._refuse(f"request {key} in version {version}: {error}")
                return
            if isinstance(answer, Later):
                self._pending = answer
                answer.body.add_done_callback(lambda body, number=correlation: self._answered(body, number))  # type: ignore[misc]
            elif answer is not None:
                self._write(correlation, answer)

    def _answered(self, body: asyncio.Future[Body], correlation: int) -> None:
        self._pending = None
        if self._transport is not None and not body.cancelled():
            self._write(correlation, body.result())
            self._work()

    def _write(self, correlation: int, body: Body) -> None:
        assert self._transport is not None  # noqa: S101 checked by the callers
        pieces = body if isinstance(body, list) else [body]
        size = sum(map(len, pieces))
        self._transport.write(b"".join((_CORRELATION.pack(size + _SIZE.size, correlation), *pieces)))
