"""Outputs of a venue's protocol: records to publish, requests to send, snapshots to fetch, events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from schemas.records import Candle, L2Update, Quote, Severity, Trade


@dataclass(frozen=True, slots=True)
class Send:
    """Send ``text`` to the venue."""

    text: str


@dataclass(frozen=True, slots=True)
class FetchSnapshot:
    """Fetch ``path`` from the venue's REST address and pass the body to :meth:`VenueProtocol.snapshot`.

    ``attempt`` counts from 0; a later attempt follows an answer that was too old, after a backoff.
    """

    symbol: str
    path: str
    number: int
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Resubscribe:
    """Request a new snapshot of one book: send the requests of :meth:`VenueProtocol.resubscribe`, rate-limited."""

    symbol: str


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Replace this connection by a new one, after at least ``delay`` seconds."""

    reason: str
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Halt:
    """Close the connection permanently: retrying cannot help until the configuration changes (a wrong key)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Note:
    """An event for ``ops.events``; ``loss`` is the kind of :data:`alphapulse.metrics.GAPS` it counts as."""

    kind: str
    severity: Severity
    message: str
    symbol: str | None = None
    loss: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refused:
    """A frame for the dead-letter topic: the raw bytes and the reason."""

    value: bytes
    error: str
    reason: str
    symbol: str | None = None


Output: TypeAlias = (
    L2Update | Trade | Quote | Candle | Send | FetchSnapshot | Resubscribe | Reconnect | Halt | Note | Refused
)
Outputs: TypeAlias = list[Output]
