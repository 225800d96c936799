"""ASGI application: REST, stream and page. No globals; tests create many."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

from alphapulse import logs, metrics
from alphapulse.config import Settings
from alphapulse.errors import RequestRefused, UnknownInstrument
from gateway import page, protocol, rest
from gateway.close_codes import CONNECTION_LIMIT, RESTART
from gateway.fanout import Hub
from gateway.health import HealthMonitor
from gateway.origin import origin_allowed
from gateway.state import MarketState
from gateway.v2.access import Gate, OpenGate
from gateway.v2.endpoint import Endpoint, router
from gateway.v2.streams import Streams
from gateway.wire import wire_of
from schemas.codec import Codec

STREAM: Final = "/ws/v1"


def create_app(
    settings: Settings,
    state: MarketState,
    hub: Hub,
    health: HealthMonitor,
    *,
    static: Path = page.FOLDER,
    streams: Streams | None = None,
    gate: Gate | None = None,
) -> FastAPI:
    """Create the application; serve it with :class:`gateway.server.GatewayServer` (the stream needs its WebSockets).

    Args:
        static: folder of the built page.
        streams: feeds of the stream's version 2; None: made here.
        gate: access control of the stream's version 2; None: open to everybody.
    """
    app = FastAPI(
        title="AlphaPulse",
        version=str(protocol.VERSION),
        summary="Live books, trades and arbitrage across venues.",
        description="Snapshots over REST, changes over the WebSocket at `/ws/v2` (`/api/asyncapi.json`).",
        # The page's build contains the documentation (page.DOCUMENTATION); FastAPI's own needs Internet access.
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    app.add_middleware(page.SecurityHeaders)
    app.include_router(rest.router(state, hub, health, depth_levels=settings.processors.depth_levels))
    app.add_exception_handler(RequestRefused, _refused)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(HTTPException, _http_error)
    allowed_origins, max_connections = settings.gateway.allowed_origins, settings.gateway.max_connections
    log = logs.get("gateway.stream")

    @app.websocket(STREAM)
    async def stream(websocket: WebSocket) -> None:
        origin, host = websocket.headers.get("origin"), websocket.headers.get("host")
        if not origin_allowed(origin, host, allowed_origins):
            text = f"origin {origin} is neither {host} nor in gateway.allowed_origins"
            log.warning("stream refused", reason=text)
            await websocket.send_denial_response(PlainTextResponse(text, status_code=403))
            return
        if not hub.live:
            await websocket.send_denial_response(_told(rest.CatchingUp()))
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
        session = hub.open(wire)
        wire.drained = partial(hub.waiting, session)
        try:
            while (message := await websocket.receive())["type"] == "websocket.receive":
                session.receive(message.get("text"))
        finally:
            hub.closed(session)

    endpoint = Endpoint(
        hub,
        streams if streams is not None else Streams(hub, state, Codec()),
        gate if gate is not None else OpenGate(),
        max_book_age_ms=state.max_book_age // 1_000_000,
        allowed_origins=allowed_origins,
        max_connections=max_connections,
    )
    app.include_router(router(endpoint))
    app.mount("/", page.Page(static))
    return app


def _fault(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"code": code, "message": message}, status_code=status)


def _told(refused: RequestRefused) -> JSONResponse:
    """Return the response to a refused request."""
    match refused:
        case rest.CatchingUp():
            response = _fault(503, refused.code, str(refused))
            response.headers["Retry-After"] = str(rest.RETRY_SECONDS)
            return response
        case UnknownInstrument():
            return _fault(404, refused.code, str(refused))
        case _:
            return _fault(422, refused.code, str(refused))


async def _refused(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestRefused):
        raise error
    return _told(error)


async def _not_valid(_: Request, error: Exception) -> JSONResponse:
    findings = error.errors() if isinstance(error, RequestValidationError) else []
    lines = [
        f"{' '.join(str(part) for part in finding['loc'])}: {finding['msg']}, found {finding.get('input')!r:.80}"
        for finding in findings
    ]
    return _fault(422, "bad_value", "; ".join(lines))


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = "not_found" if status == 404 else "refused"
    detail = error.detail if isinstance(error, HTTPException) else ""
    return _fault(status, code, f"{request.method} {request.url.path}: {detail}")
