"""Kafka topics: names, partitions and retention (docs/tables.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TRADES: Final = "md.trades"
L2: Final = "md.l2"
QUOTES: Final = "md.quotes"
DEPTH: Final = "md.depth"
CANDLES: Final = "md.candles"
STATS: Final = "md.stats"
ARBITRAGE: Final = "signals.arbitrage"
EVENTS: Final = "ops.events"
DEAD_LETTERS: Final = "dlq"
PROCESSORS_STATE: Final = "state.processors"
COLLECTORS_STATE: Final = "state.collectors"

PARTITIONS: Final = 12
"""Partitions of every topic; fixed, since a change would move keys between partitions."""

MAX_RECORD_BYTES: Final = 16 * 2**20
"""The largest record. A snapshot of 45,000 levels a side takes about 1 MB, and a dead letter holds a venue's whole
frame (10 MiB at most); the brokers' and clients' own default of 1 MB would refuse them."""

_DAY_MS: Final = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic and its broker settings (``retention_ms``: retention of records)."""

    name: str
    retention_ms: int
    partitions: int = PARTITIONS
    compacted: bool = False

    def broker_config(self) -> dict[str, str]:
        """Return the topic's settings under Kafka's names."""
        common = {"retention.ms": str(self.retention_ms), "max.message.bytes": str(MAX_RECORD_BYTES)}
        if not self.compacted:
            return common | {"cleanup.policy": "delete"}
        # A broker does not compact the segment being written: by default one week or 1 GiB, all of which the
        # next owner of a partition would read.
        return common | {
            "cleanup.policy": "compact",
            "segment.bytes": str(2 * MAX_RECORD_BYTES),
            "segment.ms": str(10 * 60_000),
            "min.cleanable.dirty.ratio": "0.1",
        }


TOPICS: Final[tuple[Topic, ...]] = (
    Topic(TRADES, 7 * _DAY_MS),
    Topic(L2, 3 * _DAY_MS),
    Topic(QUOTES, 3 * _DAY_MS),
    Topic(DEPTH, _DAY_MS),
    Topic(CANDLES, 7 * _DAY_MS),
    Topic(STATS, 7 * _DAY_MS),
    Topic(ARBITRAGE, 30 * _DAY_MS),
    Topic(EVENTS, 30 * _DAY_MS),
    Topic(DEAD_LETTERS, 30 * _DAY_MS),
)
"""All topics with records of :mod:`schemas`."""

STATE_TOPICS: Final[tuple[Topic, ...]] = (
    Topic(PROCESSORS_STATE, 7 * _DAY_MS, compacted=True),
    Topic(COLLECTORS_STATE, 7 * _DAY_MS, compacted=True),
)
"""Internal state of services: the stream processors' checkpoints (format: schemas.checkpoints), of which partition n
belongs to partition n of the topics that they read; and which process publishes as a collector (format:
producers.collector.ownership)."""

LETTERS_STATE: Final = Topic("state.dlq", 30 * _DAY_MS, partitions=1, compacted=True)
"""What was done with dead letters; made by the first command that needs it (format: sinks.dead_letters.outcomes)."""

LOADS_STATE: Final = Topic("state.loads", 30 * _DAY_MS, partitions=1, compacted=True)
"""What was loaded into topics; made by the first command that needs it (format: sinks.load.ledger)."""
