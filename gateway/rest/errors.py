"""Errors to problem details (RFC 9457)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, compile_path

from alphapulse import logs
from alphapulse.errors import RequestRefused
from alphapulse.shown import shown
from gateway.access.errors import AccessRefused
from gateway.rest.guards import RETRY_SECONDS
from gateway.rest.problems import response

STATUS: Final = {
    "catching_up": 503,
    "config_conflict": 409,
    "history_unavailable": 503,
    "media_type": 415,
    "not_acceptable": 406,
    "not_representable": 422,
    "not_stored": 404,
    "not_stored_yet": 503,
    "symbol_exists": 409,
    "too_large": 413,
    "unknown_instrument": 404,
}
"""Code → status; any other code of a refused request: 422."""
_RETRY_AFTER: Final = {"catching_up": RETRY_SECONDS, "history_unavailable": 5, "not_stored_yet": 10}
"""Code → seconds."""
_PLAIN: Final = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "media_type", 429: "rate_limited"}
API: Final = "/api/"

_log = logs.get("gateway.rest")


def install(app: FastAPI) -> None:
    """Let ``app`` answer every error with problem details."""
    app.add_exception_handler(RequestRefused, _refused)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _failed)


def refusal(error: RequestRefused, path: str) -> Response:
    """Return the response to a refused request."""
    if isinstance(error, AccessRefused):
        return response(error.status, error.code, str(error), path, error.headers)
    status = STATUS.get(error.code, 422)
    headers = {"Retry-After": str(_RETRY_AFTER[error.code])} if error.code in _RETRY_AFTER else None
    return response(status, error.code, str(error), path, headers)


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestRefused):
        raise error
    return refusal(error, request.url.path)


async def _not_valid(request: Request, error: Exception) -> Response:
    findings = error.errors() if isinstance(error, RequestValidationError) else []
    lines = [
        f"{' '.join(str(part) for part in finding['loc'])}: {finding['msg']}, found {shown(finding.get('input'))}"
        for finding in findings
    ]
    return response(422, "bad_value", "; ".join(lines), request.url.path)


async def _http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    path, status, headers = request.url.path, error.status_code, dict(error.headers or {})
    if status in (404, 405):
        # The page is mounted at every path, so a path of the interface ends there if its method does not match.
        allowed = allowed_methods(request.app.routes, request)
        status = 405 if allowed and (path.startswith(API) or status == 405) else 404
        if status == 405:
            headers["Allow"] = ", ".join(sorted(allowed))
    if status == 404:
        return response(404, "not_found", f"{request.method} {path}: Not Found", path, headers)
    if status == 405:
        detail = f"{request.method} {path}: the methods of this path are {headers['Allow']}"
        return response(405, "method_not_allowed", detail, path, headers)
    code = _PLAIN.get(status, "refused")
    return response(status, code, f"{request.method} {path}: {error.detail}", path, headers)


def allowed_methods(routes: Sequence[BaseRoute], request: Request) -> set[str]:
    """Return the methods of the request's path; empty if there is no such path."""
    path = request.url.path
    found: set[str] = set()
    for route in iter_route_contexts(routes):
        if route.methods and route.path is not None and _pattern(route.path).match(path):
            found |= route.methods
    if not found and not path.startswith(API):
        found = {"GET"}
    return found | {"HEAD"} if "GET" in found else found


@cache
def _pattern(path: str) -> re.Pattern[str]:
    return compile_path(path)[0]


async def _failed(request: Request, error: Exception) -> Response:
    # Starlette raises it again, and uvicorn logs its traceback.
    _log.error("request failed", method=request.method, path=request.url.path, error=repr(error))
    return response(500, "internal_error", "the gateway has a fault; see its log", request.url.path)
