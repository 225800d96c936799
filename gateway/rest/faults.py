"""Responses that are not 2xx, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from gateway.rest.answers import FaultAnswer

Responses: TypeAlias = dict[int | str, dict[str, Any]]

UNKNOWN: Final[Responses] = {404: {"model": FaultAnswer, "description": "Unknown venue or symbol."}}
REFUSED: Final[Responses] = {422: {"model": FaultAnswer, "description": "Invalid or unknown parameter."}}
NO_ACCESS: Final[Responses] = {
    401: {
        "model": FaultAnswer,
        "description": "Credentials are missing or wrong; code `unauthorized`, `token_expired`, `wrong_audience`, …",
        "headers": {"WWW-Authenticate": {"description": "RFC 6750.", "schema": {"type": "string"}}},
    },
    403: {"model": FaultAnswer, "description": "No scope for this; code `forbidden`."},
    429: {
        "model": FaultAnswer,
        "description": "A limit is reached; code `rate_limited`.",
        "headers": {
            "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}},
            "RateLimit-Limit": {"description": "Requests at once.", "schema": {"type": "integer"}},
            "RateLimit-Remaining": {"description": "Requests left.", "schema": {"type": "integer"}},
            "RateLimit-Reset": {"description": "Seconds until all are back.", "schema": {"type": "integer"}},
        },
    },
}
CATCHING_UP: Final[Responses] = {
    503: {
        "model": FaultAnswer,
        "description": "The gateway has just started and is still reading older records; code `catching_up`.",
        "headers": {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}},
    }
}
