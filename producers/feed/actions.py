"""What a venue's protocol asks of the collector: records to publish, things to send or fetch, words to pass on."""

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
    """Get ``path`` from the venue's REST address and give the body to :meth:`VenueProtocol.snapshot`.

    ``attempt`` counts from 0; an attempt after the first follows an answer that was too old and wants a pause.
    """

    symbol: str
    path: str
    number: int
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Resubscribe:
    """Ask for a new snapshot of one book: send what :meth:`VenueProtocol.resubscribe` returns, at the pace allowed."""

    symbol: str


@dataclass(frozen=True, slots=True)
class Reconnect:
    """This connection is of no more use: open a new one, not before ``delay`` seconds have passed."""

    reason: str
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Halt:
    """Trying again cannot help before the configuration changes (a wrong key): close and stay closed."""

    reason: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something for ``ops.events``; ``loss`` is the kind of :data:`alphapulse.metrics.GAPS` it counts as."""

    kind: str
    severity: Severity
    message: str
    symbol: str | None = None
    loss: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refused:
    """A frame for the dead letters: the untouched bytes and why they were refused."""

    value: bytes
    error: str
    reason: str
    symbol: str | None = None


Output: TypeAlias = (
    L2Update | Trade | Quote | Candle | Send | FetchSnapshot | Resubscribe | Reconnect | Halt | Note | Refused
)
Outputs: TypeAlias = list[Output]
