"""Responses that are not 2xx, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from gateway.rest.answers import FaultAnswer

Responses: TypeAlias = dict[int | str, dict[str, Any]]

UNKNOWN: Final[Responses] = {404: {"model": FaultAnswer, "description": "Unknown venue or symbol."}}
REFUSED: Final[Responses] = {422: {"model": FaultAnswer, "description": "Invalid or unknown parameter."}}
CATCHING_UP: Final[Responses] = {
    503: {
        "model": FaultAnswer,
        "description": "The gateway has just started and is still reading older records; code `catching_up`.",
        "headers": {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}},
    }
}
