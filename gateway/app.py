"""ASGI application: REST, stream and page. No globals; tests create many."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette_compress import CompressMiddleware

from alphapulse.config import Settings
from gateway import page, protocol
from gateway.access.gate import Gate
from gateway.access.http import AccessHeaders, cors
from gateway.endpoint import STREAM
from gateway.endpoint import Endpoint as FirstEndpoint
from gateway.fanout import Hub
from gateway.health.monitor import HealthMonitor
from gateway.origin import Origins
from gateway.rest import errors, openapi
from gateway.rest.caching import NoStore
from gateway.rest.exports import Exports
from gateway.rest.head import HeadAsGet
from gateway.rest.router import Sources, router
from gateway.rest.symbol_editor import SymbolEditor
from gateway.state import MarketState
from gateway.stream_routes import StreamRoutes
from gateway.tables import Tables
from gateway.v2 import document
from gateway.v2.endpoint import Endpoint
from gateway.v2.endpoint import router as stream_router
from gateway.v2.streams import Streams
from schemas.codec import Codec

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
    origins, max_connections = Origins(settings.gateway.allowed_origins), settings.gateway.max_connections
    first = FirstEndpoint(hub, gate, origins=origins, max_connections=max_connections)
    endpoint = Endpoint(
        hub,
        streams if streams is not None else Streams(hub, state, Codec()),
        gate,
        max_book_age_ms=state.max_book_age // 1_000_000,
        origins=origins,
        max_connections=max_connections,
    )
    # Parquet and what the page's build has compressed are not in its list of types.
    app.add_middleware(CompressMiddleware, minimum_size=COMPRESSED_FROM, brotli=False)
    app.add_middleware(NoStore)
    app.add_middleware(HeadAsGet)
    app.state.gate = gate
    app.state.exports = Exports()
    if settings.gateway.allowed_origins:
        app.add_middleware(CORSMiddleware, **cors(settings.gateway.allowed_origins))
    app.add_middleware(StreamRoutes, routes={STREAM: first.serve, document.STREAM: endpoint.serve})
    app.add_middleware(AccessHeaders, refusal=errors.refusal)
    app.add_middleware(page.SecurityHeaders)
    sources = Sources(settings, state, hub, health, tables, editor)
    app.include_router(router(sources))
    errors.install(app)
    openapi.install(app)
    app.include_router(stream_router())
    app.mount("/", page.Page(static))
    return app
