"""HTTP on top of uvicorn's protocol class: clients that neither send nor read are disconnected.

uvicorn waits without end for a request that never comes to its end, and for a client that does not read its answer.
Each of them would keep a descriptor, of which there are a thousand by default, and up to megabytes of an answer.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Final, cast

import h11
import orjson
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.rest.problems import MEDIA_TYPE, problem

REQUEST_SECONDS: Final = 20.0
"""From the connection, or the first byte of a further request, to the request's end."""
READ_SECONDS: Final = 60.0
"""A client that reads nothing of what waits for it for this long is disconnected."""


class RequestProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with deadlines (it bounds the length of a request's head itself: 64 KiB)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._handed_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        # Writing "pauses" with the first byte that the kernel does not take: what a client leaves unread is noticed
        # however little it is, and after the end of the answer, too.
        self.transport.set_write_buffer_limits(high=0)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def _watch(self) -> None:
        """Let the deadline run while the client owes a request, or the rest of one."""
        if not self._handed_over and self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            if self._deadline is None:
                self._deadline = self.loop.call_later(REQUEST_SECONDS, self._late)
        elif self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        # The connection has another protocol from here on; h11's state stays as it is.
        self._handed_over = True
        super().handle_websocket_upgrade(event)

    def _unsupported_upgrade_warning(self) -> None:
        """Answer a request for another protocol (h2c: ``curl --http2``) in HTTP/1.1, as RFC 9110 (7.8) wants it."""

    def send_400_response(self, msg: str) -> None:
        body = orjson.dumps(problem(400, "bad_request", msg, ""))
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        answer = h11.Response(status_code=400, headers=headers, reason=HTTPStatus.BAD_REQUEST.phrase.encode())
        for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))
        self.transport.close()

    def _late(self) -> None:
        self._deadline = None
        # uvicorn has its own deadline, of some seconds, for the time between two requests.
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._deadline, self._unread):
            if timer is not None:
                timer.cancel()
        self._deadline = self._unread = None
        super().connection_lost(exc)
