"""ASGI application: REST, stream and page. No globals; tests create many."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse

from alphapulse import logs, metrics
from alphapulse.config import Settings
from alphapulse.errors import RequestRefused, UnknownInstrument
from gateway import page, protocol
from gateway.access.errors import AccessRefused
from gateway.access.gate import Gate
from gateway.access.http import AccessHeaders, arrived, cors
from gateway.access.redaction import redacted
from gateway.access.visitor import Visitor
from gateway.close_codes import CONNECTION_LIMIT, RESTART
from gateway.fanout import Hub
from gateway.health.monitor import HealthMonitor
from gateway.origin import origin_allowed
from gateway.rest.guards import RETRY_SECONDS, CatchingUp
from gateway.rest.router import router
from gateway.state import MarketState
from gateway.wire import wire_of

STREAM: Final = "/ws/v1"


def create_app(
    settings: Settings,
    state: MarketState,
    hub: Hub,
    health: HealthMonitor,
    *,
    gate: Gate,
    static: Path = page.FOLDER,
) -> FastAPI:
    """Create the application; serve it with :class:`gateway.server.GatewayServer` (the stream needs its WebSockets).

    Args:
        gate: who may see what.
        static: folder of the built page.
    """
    app = FastAPI(
        title="AlphaPulse",
        version=str(protocol.VERSION),
        summary="Live books, trades and arbitrage across venues.",
        description=f"Snapshots over REST, changes over the WebSocket at `{STREAM}`.",
        # The page's build contains the documentation (page.DOCUMENTATION); FastAPI's own needs Internet access.
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    app.state.gate = gate
    if settings.gateway.allowed_origins:
        app.add_middleware(CORSMiddleware, **cors(settings.gateway.allowed_origins))
    app.add_middleware(AccessHeaders)
    app.add_middleware(page.SecurityHeaders)
    app.include_router(router(state, hub, health, depth_levels=settings.processors.depth_levels))
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
            await websocket.send_denial_response(_told(CatchingUp()))
            return
        try:
            identity, address = await arrived(websocket)
        except AccessRefused as refusal:
            await websocket.send_denial_response(_told(refusal))
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

    app.mount("/", page.Page(static))
    return app


def _fault(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"code": code, "message": redacted(message)}, status_code=status)


def _told(refused: RequestRefused) -> JSONResponse:
    """Return the response to a refused request."""
    match refused:
        case AccessRefused():
            response = _fault(refused.status, refused.code, str(refused))
            response.headers.update(refused.headers)
            return response
        case CatchingUp():
            response = _fault(503, refused.code, str(refused))
            response.headers["Retry-After"] = str(RETRY_SECONDS)
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
