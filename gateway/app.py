"""ASGI application: REST, stream and page. No globals; tests create many."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from fastapi import FastAPI, WebSocket
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse
from starlette_compress import CompressMiddleware

from alphapulse import logs, metrics
from alphapulse.config import Settings
from gateway import page, protocol
from gateway.access.errors import AccessRefused
from gateway.access.gate import Gate
from gateway.access.http import AccessHeaders, arrived, client_of, cors
from gateway.access.visitor import Visitor
from gateway.close_codes import CONNECTION_LIMIT, RESTART
from gateway.fanout import Hub
from gateway.health.monitor import HealthMonitor
from gateway.origin import Origins
from gateway.rest import errors, openapi
from gateway.rest.caching import NoStore
from gateway.rest.exports import Exports
from gateway.rest.guards import CatchingUp
from gateway.rest.head import HeadAsGet
from gateway.rest.router import Sources, router
from gateway.rest.symbol_editor import SymbolEditor
from gateway.state import MarketState
from gateway.tables import Tables
from gateway.v2.endpoint import Endpoint
from gateway.v2.endpoint import router as stream_router
from gateway.v2.streams import Streams
from gateway.wire import wire_of
from schemas.codec import Codec

STREAM: Final = "/ws/v1"
COMPRESSED_FROM: Final = 1024
"""Bytes; a shorter body is sent as it is."""


def create_app(
    settings: Settings,
    state: MarketState,
    hub: Hub,
    health: HealthMonitor,
    tables: Tables,
    editor: SymbolEditor,
    *,
    gate: Gate,
    static: Path = page.FOLDER,
    streams: Streams | None = None,
) -> FastAPI:
    """Create the application; serve it with :class:`gateway.server.GatewayServer` (the stream needs its WebSockets).

    Args:
        gate: who may see what.
        tables: of ClickHouse.
        editor: of the configuration.
        static: folder of the built page.
        streams: feeds of the stream's version 2; None: made here.
    """
    app = FastAPI(
        title="AlphaPulse",
        version=str(protocol.VERSION),
        summary="Live books, trades and arbitrage across venues.",
        description="Snapshots over REST, changes over the WebSocket at `/ws/v2` (`/api/asyncapi.json`).",
        # The page's build contains the documentation (page.DOCUMENTATION); FastAPI's own needs Internet access.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,  # gateway.rest.openapi,
    )
    # Parquet and what the page's build has compressed are not in its list of types.
    app.add_middleware(CompressMiddleware, minimum_size=COMPRESSED_FROM, brotli=False)
    app.add_middleware(NoStore)
    app.add_middleware(HeadAsGet)
    app.state.gate = gate
    app.state.exports = Exports()
    if settings.gateway.allowed_origins:
        app.add_middleware(CORSMiddleware, **cors(settings.gateway.allowed_origins))
    app.add_middleware(AccessHeaders, refusal=errors.refusal)
    app.add_middleware(page.SecurityHeaders)
    sources = Sources(settings, state, hub, health, tables, editor)
    app.include_router(router(sources))
    errors.install(app)
    openapi.install(app)
    origins, max_connections = Origins(settings.gateway.allowed_origins), settings.gateway.max_connections
    log = logs.get("gateway.stream")

    @app.websocket(STREAM)
    async def stream(websocket: WebSocket) -> None:
        origin, host = websocket.headers.get("origin"), websocket.headers.get("host")
        if foreign := origins.refusal(origin, host, client_of(websocket).text):
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
        if len(hub.sessions) >= max_connections:
            log.warning("stream refused", reason="gateway.max_connections", value=max_connections)
            metrics.GATEWAY_DISCONNECTS.labels(code=str(CONNECTION_LIMIT.number)).inc()
            wire.close(CONNECTION_LIMIT)
            return
        try:
            visitor = Visitor(gate, identity, address)
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

    endpoint = Endpoint(
        hub,
        streams if streams is not None else Streams(hub, state, Codec()),
        gate,
        max_book_age_ms=state.max_book_age // 1_000_000,
        origins=origins,
        max_connections=max_connections,
    )
    app.include_router(stream_router(endpoint))
    app.mount("/", page.Page(static))
    return app
