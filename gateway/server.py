"""uvicorn in our own event loop, with our socket, signal handling and WebSockets."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from alphapulse.config import GatewaySettings
from alphapulse.errors import ServiceError
from gateway.access.exposure import check_exposure
from gateway.http_protocol import RequestProtocol
from gateway.wire import StreamProtocol

MAX_CLIENT_MESSAGE: Final = 64 * 1024
"""Bytes; a longer message closes the connection with 1009. The protocol's own limit is far lower."""
UNSENT_BYTES: Final = 64 * 1024
"""Send buffer of the kernel per connection, in addition to the peer's receive window."""
PING_SECONDS: Final = 20.0
SHUTDOWN_SECONDS: Final = 3


def listen(settings: GatewaySettings) -> socket.socket:
    """Create the listening socket.

    Raises:
        ServiceError: the address cannot be used; the message gives key, address and reason. Or other machines reach it
            although access is open, and that is not allowed.
    """
    host, port = settings.host, settings.port
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except socket.gaierror as error:
        raise ServiceError(f"gateway.host: {host!r} is not an address of this machine: {error.strerror}") from error
    check_exposure(settings, str(address[0]))
    try:
        listening = socket.create_server(address[:2], family=family, backlog=1024)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ServiceError(
                f"gateway.port: {host}:{port} is in use by another process; choose another port, or 0 for any free one"
            ) from error
        key = "gateway.host" if error.errno == errno.EADDRNOTAVAIL else "gateway.port"
        reason = os.strerror(error.errno) if error.errno is not None else str(error)
        raise ServiceError(f"{key}: cannot listen on {host}:{port}: {reason}") from error
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        # Inherited by the connections. Otherwise the kernel buffers megabytes for a slow client, which would then see
        # the market of many seconds ago before anything is conflated.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    return listening


def url(listening: socket.socket) -> str:
    """Return a URL of ``listening`` for clients on this machine."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class GatewayServer(uvicorn.Server):
    """Server for :func:`gateway.app.create_app`; runs until :meth:`stop`."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=RequestProtocol,
                ws=StreamProtocol,
                # Compressed per connection, a message costs four times as much CPU as sending it.
                ws_per_message_deflate=False,
                ws_max_size=MAX_CLIENT_MESSAGE,
                ws_ping_interval=PING_SECONDS,
                ws_ping_timeout=PING_SECONDS,
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                # uvicorn would believe what any process on this machine says; gateway.access.trusted_proxies decides.
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the service."""
        yield

    async def stop(self, serving: asyncio.Task[None]) -> None:
        """End ``serving`` (the task of :meth:`serve`): no new connections, the open ones finish or are closed."""
        self.should_exit = True
        await serving
