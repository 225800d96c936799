"""WebSocket endpoint of protocol version 2: handshake, access, subprotocol."""

from __future__ import annotations

from functools import partial
from typing import Final

import orjson
from fastapi import APIRouter, Request, WebSocket
from starlette.responses import JSONResponse, PlainTextResponse, Response

from alphapulse import logs, metrics
from gateway.access.errors import AccessRefused
from gateway.access.gate import Gate
from gateway.access.http import arrived, client_of, credentials_of
from gateway.access.identity import Identity
from gateway.access.visitor import Visitor
from gateway.close_codes import CONNECTION_LIMIT, RESTART
from gateway.documents import Document
from gateway.fanout import HEARTBEAT_SECONDS, Hub
from gateway.origin import Origins
from gateway.v2 import document
from gateway.v2.encoding import ENCODINGS, Encoding, chosen
from gateway.v2.session import Greeting, Session
from gateway.v2.streams import Streams
from gateway.wire import wire_of

RETRY_SECONDS: Final = 1
ANONYMOUS_SHARE: Final = 4
"""At most one in so many of ``max_connections`` may have still to authenticate: whoever has no credentials can keep a
connection for some seconds, and must not keep out those who have."""


class Refusal(Exception):
    """A handshake that is refused; ``response`` is the answer."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        self.response: Response = JSONResponse({"code": code, "message": message}, status_code=status, headers=headers)
        super().__init__(message)


class Endpoint:
    """Accepts clients.

    Args:
        max_book_age_ms: told in hello.
        origins: which pages may connect.
        max_connections: of all versions of the protocol.
    """

    def __init__(
        self,
        hub: Hub,
        streams: Streams,
        gate: Gate,
        *,
        max_book_age_ms: int,
        origins: Origins,
        max_connections: int,
    ) -> None:
        self._hub = hub
        self._streams = streams
        self._gate = gate
        self._greeting = Greeting(streams.gateway_id, round(HEARTBEAT_SECONDS * 1000), max_book_age_ms)
        self._origins = origins
        self._max_connections = max_connections
        self._log = logs.get("gateway.stream")

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one client until it is gone."""
        origin, host = websocket.headers.get("origin"), websocket.headers.get("host")
        if foreign := self._origins.refusal(origin, host, client_of(websocket).text):
            await websocket.send_denial_response(PlainTextResponse(foreign, status_code=403))
            return
        try:
            encoding, identity = await self._admit(websocket)
        except Refusal as refusal:
            await websocket.send_denial_response(refusal.response)
            return
        await websocket.accept(subprotocol=encoding.name if websocket.scope["subprotocols"] else None)
        await self._run(websocket, encoding, identity)

    async def _admit(self, websocket: WebSocket) -> tuple[Encoding, Identity | None]:
        """Return a client's encoding and identity; None: it has to authenticate.

        Raises:
            Refusal: it is not admitted.
        """
        if not self._hub.live:
            headers = {"Retry-After": str(RETRY_SECONDS)}
            raise Refusal(503, "catching_up", "the gateway reads the latest records first; try again", headers)
        offered = websocket.scope["subprotocols"]
        encoding = chosen(offered)
        if encoding is None:
            known = ", ".join(ENCODINGS)
            raise Refusal(
                400, "unknown_subprotocol", f"subprotocols {', '.join(offered)[:200]} unknown; known: {known}"
            )
        try:
            if not self._gate.open and not credentials_of(websocket.headers):
                self._gate.arrival(client_of(websocket))
                return encoding, None
            identity, _ = await arrived(websocket)
        except AccessRefused as refused:
            raise Refusal(refused.status, refused.code, str(refused), refused.headers) from refused
        return encoding, identity

    def _full(self, identity: Identity | None) -> str:
        """Return why there is no room for a client; empty: there is."""
        sessions = self._hub.sessions
        if len(sessions) >= self._max_connections:
            return "gateway.max_connections"
        if identity is None:
            anonymous = sum(isinstance(each, Session) and each.anonymous for each in sessions)
            if anonymous >= max(self._max_connections // ANONYMOUS_SHARE, 1):
                return "gateway.max_connections: too many clients that have not authenticated"
        return ""

    async def _run(self, websocket: WebSocket, encoding: Encoding, identity: Identity | None) -> None:
        hub, wire = self._hub, wire_of(websocket.scope)
        if hub.stopping:
            wire.close(RESTART)
            return
        if full := self._full(identity):
            self._log.warning("stream refused", reason=full, value=self._max_connections)
            metrics.GATEWAY_DISCONNECTS.labels(code=str(CONNECTION_LIMIT.number)).inc()
            wire.close(CONNECTION_LIMIT)
            return
        address = client_of(websocket)
        try:
            visitor = Visitor(self._gate, identity, address)
        except AccessRefused as refused:
            metrics.GATEWAY_DISCONNECTS.labels(code=str(refused.close_code.number)).inc()
            wire.close(refused.close_code)
            return
        session = Session(
            hub,
            self._streams,
            wire,
            encoding,
            queue_bytes=hub.queue_bytes,
            now=hub.schedule.now(),
            gate=visitor,
            identity=identity,
            address=address.text,
            stall_seconds=hub.stall_seconds,
        )
        hub.join(session)
        session.greet(self._greeting)
        wire.drained = partial(hub.waiting, session)
        try:
            while (message := await websocket.receive())["type"] == "websocket.receive":
                session.receive(message.get("text"), message.get("bytes"))
        finally:
            hub.closed(session)
            visitor.leave()


def router() -> APIRouter:
    """Return the route of the protocol's AsyncAPI document."""
    routes = APIRouter()
    text = Document(orjson.dumps(document.document()))

    @routes.get(document.PATH, include_in_schema=False)
    async def asyncapi(request: Request) -> Response:
        return text.answer(request)

    return routes
