"""Responses that are not 2xx, for the OpenAPI document, each with an example."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from gateway.rest.examples import FAULTS
from gateway.rest.problems import MEDIA_TYPE, problem

Responses: TypeAlias = dict[int | str, dict[str, Any]]

_RETRY: Final = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}


def fault(status: int, code: str, description: str, detail: str, **more: Any) -> Responses:
    """Return the documentation of one status."""
    content = {
        MEDIA_TYPE: {
            "schema": {"$ref": "#/components/schemas/Problem"},
            "example": problem(status, code, detail, FAULTS["path"]),
        }
    }
    return {status: {"description": description, "content": content, **more}}


REFUSED: Final = fault(
    422, "bad_value", "Invalid or unknown parameter.", "query depth: Input should be greater than 0, found '0'"
)
_INTEGER: Final = {"type": "integer"}
NO_ACCESS: Final[Responses] = {
    **fault(
        401,
        "wrong_audience",
        "Credentials are missing or wrong: `unauthorized`, `token_expired`, `wrong_audience`, … (docs/access.md).",
        "token claim aud: expected 'alphapulse', found 'grafana'",
        headers={"WWW-Authenticate": {"description": "RFC 6750.", "schema": {"type": "string"}}},
    ),
    **fault(403, "forbidden", "The credentials have no scope for this.", "desk-1 has no scope rest:history"),
    **fault(
        429,
        "rate_limited",
        "A limit of the identity or the address is reached.",
        "more than 200 requests at once; the next in 0.02 s",
        headers={
            **_RETRY,
            "RateLimit-Limit": {"description": "Requests at once.", "schema": _INTEGER},
            "RateLimit-Remaining": {"description": "Of them, those left.", "schema": _INTEGER},
            "RateLimit-Reset": {"description": "Seconds until all are back.", "schema": _INTEGER},
        },
    ),
}
COMMON: Final[Responses] = {
    **NO_ACCESS,
    **REFUSED,
    **fault(
        406,
        "not_acceptable",
        "The Accept header has no media type of this resource.",
        "header Accept: 'text/html' has none of application/json",
    ),
    **fault(500, "internal_error", "A fault of the gateway; its log has more.", "the gateway has a fault; see its log"),
}
UNKNOWN: Final = fault(
    404,
    "unknown_instrument",
    "Unknown venue or symbol.",
    FAULTS["unknown_instrument"],
)
CATCHING_UP: Final = fault(
    503,
    "catching_up",
    "The gateway has just started and is still reading older records.",
    "the gateway has just started and is still reading older records; try again",
    headers=_RETRY,
)
UNAVAILABLE: Final = fault(
    503,
    "history_unavailable",
    "The gateway has just started and is still reading older records (code `catching_up`), or the stored data that the "
    "request needs cannot be read (`history_unavailable`).",
    "the stored data cannot be read: no ClickHouse sink runs",
    headers=_RETRY,
)
