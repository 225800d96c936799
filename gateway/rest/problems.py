"""Problem details (RFC 9457): the body of every response of the interface that is not 2xx or 3xx."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from pydantic import BaseModel, Field
from starlette.responses import Response

from gateway.access.redaction import redacted

MEDIA_TYPE: Final = "application/problem+json"
_TYPE: Final = "urn:alphapulse:problem:"

TITLES: Final[Mapping[str, str]] = {
    "bad_claim": "A claim of the token is not valid",
    "bad_cursor": "The cursor is not of this request",
    "bad_request": "The request is not HTTP",
    "bad_value": "A value is not valid",
    "catching_up": "The gateway has just started",
    "config_conflict": "The configuration does not allow this change",
    "connection_limit": "Too many connections",
    "credentials_in_url": "Credentials do not belong in a URL",
    "forbidden": "Not allowed",
    "history_unavailable": "The stored data cannot be read now",
    "internal_error": "The gateway has a fault",
    "key_revoked": "The API key was revoked",
    "media_type": "The body has another media type",
    "method_not_allowed": "The path has no such method",
    "not_acceptable": "No media type that you accept",
    "not_found": "There is nothing at this path",
    "not_representable": "A number does not fit its type",
    "not_stored_yet": "The tables do not have this time yet",
    "rate_limited": "Too many requests",
    "symbol_exists": "The symbol is configured already",
    "token_expired": "The token or key has expired",
    "token_not_yet_valid": "The token is not valid yet",
    "too_large": "The body is too large",
    "unauthorized": "Credentials are missing or not valid",
    "unknown_instrument": "Unknown venue or symbol",
    "unknown_key": "Unknown query parameter",
    "unknown_signing_key": "The token is signed with an unknown key",
    "wrong_audience": "The token is for another service",
    "wrong_issuer": "The token is from another issuer",
    "wrong_signature": "The token's signature is wrong",
}
"""Code → title; a code means one kind of problem."""


class Problem(BaseModel):
    """Problem details."""

    type: str = Field(description="URN of the kind of problem: `urn:alphapulse:problem:` and the code.")
    title: str = Field(description="The kind of problem, for people.")
    status: int = Field(description="The response's status.")
    detail: str = Field(description="What is wrong this time, with its value, for people.")
    instance: str = Field(description="The request's path.")
    code: str = Field(description="For programs: unknown_instrument, bad_value, unknown_key, catching_up, not_found, …")
    message: str = Field(description="The same as `detail`, as it was before version 2.")


def problem(status: int, code: str, detail: str, instance: str) -> dict[str, Any]:
    """Return the fields of a problem; nothing in it that looks like credentials is repeated."""
    detail, instance = _text(detail), _text(instance)
    return {
        "type": f"{_TYPE}{code}",
        "title": TITLES.get(code, code.replace("_", " ").capitalize()),
        "status": status,
        "detail": detail,
        "instance": instance,
        "code": code,
        "message": detail,
    }


def _text(text: str) -> str:
    # A body of JSON may have half of a surrogate pair in a text (escaped), which UTF-8 has not.
    return redacted(text.encode(errors="backslashreplace").decode())


def response(status: int, code: str, detail: str, instance: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response of a problem."""
    body = orjson.dumps(problem(status, code, detail, instance))
    return Response(body, status, {"Cache-Control": "no-store", **(headers or {})}, MEDIA_TYPE)
