"""What is to happen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SINKS: Final = ("server", "embedded", "parquet")
"""ClickHouse as a server, ClickHouse embedded in the sink, Parquet files."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A run.

    Attributes:
        records: trades and L2 records together.
        kills: of each sink's instances (-9).
        outages: how often the ClickHouse server is killed and away.
        away: for how long, seconds.
        seed: of records and moments.
        sinks: some of :data:`SINKS`.
        session_ms: after which a group gives up a silent member.
        patience: the run fails if a group commits nothing for so many seconds.
    """

    records: int = 2_000_000
    kills: int = 30
    outages: int = 2
    away: float = 30.0
    seed: int = 1
    sinks: tuple[str, ...] = SINKS
    session_ms: int = 6_000
    patience: float = 600.0

    @property
    def batch_records(self) -> int:
        """Records of a batch: so few that between two kills some are stored."""
        return max(self.records // 100, 400)

    @property
    def damaged(self) -> int:
        """Messages among the records that are none."""
        return max(self.records // 20_000, 10)
