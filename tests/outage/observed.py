"""What is to happen in an outage, and what was seen of it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

from alphapulse.config import PublisherSettings
from schemas.records import L2Update
from tests.outage.venue import Change

SYMBOLS: Final = ("BTC-USD", "ETH-USD", "SOL-USD", "XRP-USD", "DOGE-USD", "ADA-USD", "LTC-USD", "DOT-USD")


@dataclass(frozen=True)
class Plan:
    """What is to happen.

    Attributes:
        away: seconds between the broker's death and its next start, at least.
        until_closed: whether it also stays away until the collectors have left the exchanges.
        times: how often it dies; it is back for ``between`` seconds each time.
        rate: frames a second, all exchanges together.
        symbols: of each exchange.
        connections: of each collector.
        before, after: seconds at that rate before the death, and after all books go on again.
        publisher: the collectors' bounds.
        patience: seconds for whatever else has to be waited for.
    """

    away: float = 60.0
    until_closed: bool = False
    times: int = 1
    between: float = 2.0
    rate: float = 5_000.0
    venues: tuple[str, ...] = ("kraken", "binance_us")
    symbols: tuple[str, ...] = SYMBOLS
    connections: int = 2
    before: float = 20.0
    after: float = 15.0
    seed: int = 1
    publisher: PublisherSettings = field(default_factory=PublisherSettings)
    patience: float = 60.0


@dataclass(frozen=True, slots=True)
class Sample:
    """A collector at one moment (ns since the epoch)."""

    time: int
    resident_bytes: int
    status: dict[str, Any]


@dataclass
class Observed:
    """What was seen. Times are ns since the epoch.

    Attributes:
        killed: when the node died first.
        started, returned: when it was started for the last time, and then first answered a request for metadata.
        stopped: when the market was stopped.
        samples: by venue.
        frames_per_second: that the collectors had before the death.
        skipped_seconds: of the market, which the machine had no time for.
        arrived: see :class:`LogReader`.
        diary: see :func:`read_diary`.
        last: each instrument's last change and trade.
        gaps: ``alphapulse_gaps_total`` by venue and kind.
        log_lines: of each collector.
    """

    plan: Plan
    killed: int = 0
    started: int = 0
    returned: int = 0
    stopped: int = 0
    samples: dict[str, list[Sample]] = field(default_factory=lambda: defaultdict(list))
    frames_per_second: float = 0.0
    skipped_seconds: float = 0.0
    arrived: dict[tuple[str, str], list[tuple[int, bytes]]] = field(default_factory=dict)
    diary: dict[str, list[Change]] = field(default_factory=dict)
    last: dict[str, dict[str, int]] = field(default_factory=dict)
    gaps: dict[str, dict[str, int]] = field(default_factory=dict)
    log_lines: dict[str, int] = field(default_factory=dict)


def number_of(update: L2Update) -> int:
    """Return the number of the book change that ``update`` tells of (see :class:`tests.outage.venue.Numbers`)."""
    return update.exchange_sequence if update.exchange_sequence is not None else update.exchange_time // 1000
