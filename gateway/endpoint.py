"""WebSocket endpoint of protocol version 1: handshake and access."""

from __future__ import annotations

from functools import partial
from typing import Final

from fastapi import WebSocket
from starlette.responses import PlainTextResponse

from alphapulse import logs, metrics
from gateway.access.errors import AccessRefused
from gateway.access.gate import Gate
from gateway.access.http import arrived, client_of
from gateway.access.visitor import Visitor
from gateway.close_codes import CONNECTION_LIMIT, RESTART
from gateway.fanout import Hub
from gateway.origin import Origins
from gateway.rest import errors
from gateway.rest.guards import CatchingUp
from gateway.wire import wire_of

STREAM: Final = "/ws/v1"


class Endpoint:
    """Accepts clients.

    Args:
        origins: which pages may connect.
        max_connections: of all versions of the protocol.
    """

    def __init__(self, hub: Hub, gate: Gate, *, origins: Origins, max_connections: int) -> None:
        self._hub = hub
        self._gate = gate
        self._origins = origins
        self._max_connections = max_connections
        self._log = logs.get("gateway.stream")

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one client until it is gone."""
        hub = self._hub
        origin, host = websocket.headers.get("origin"), websocket.headers.get("host")
        if foreign := self._origins.refusal(origin, host, client_of(websocket).text):
            await websocket.send_denial_response(PlainTextResponse(foreign, status_code=403))
            return
        if not hub.live:
            await websocket.send_denial_response(errors.refusal(CatchingUp(), STREAM))
            return
        try:
            identity, address = await arrived(websocket)
        except AccessRefused as refusal:
            await websocket.send_denial_response(errors.refusal(refusal, STREAM))
            return
        await websocket.accept()
        wire = wire_of(websocket.scope)
        if hub.stopping:
            wire.close(RESTART)
            return
        if len(hub.sessions) >= self._max_connections:
            self._log.warning("stream refused", reason="gateway.max_connections", value=self._max_connections)
            metrics.GATEWAY_DISCONNECTS.labels(code=str(CONNECTION_LIMIT.number)).inc()
            wire.close(CONNECTION_LIMIT)
            return
        try:
            visitor = Visitor(self._gate, identity, address)
        except AccessRefused as refusal:
            metrics.GATEWAY_DISCONNECTS.labels(code=str(refusal.close_code.number)).inc()
            wire.close(refusal.close_code)
            return
        session = hub.open(wire, visitor)
        wire.drained = partial(hub.waiting, session)
        try:
            while (message := await websocket.receive())["type"] == "websocket.receive":
                session.receive(message.get("text"))
        finally:
            hub.closed(session)
