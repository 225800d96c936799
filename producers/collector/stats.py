"""Statistics of a collector over all its shards, retired ones included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from alphapulse import metrics
from producers.collector.shard import Shard


class CollectorStats:
    """Sums over all shards.

    Args:
        venue: label of the metrics.
    """

    def __init__(self, venue: str) -> None:
        self._venue = venue
        self._ignored: Counter[str] = Counter()
        self._refused = 0
        self._counted = (0, 0)

    def keep(self, shard: Shard) -> None:
        """Keep the counters of a retired shard."""
        self._ignored += shard.protocol.ignored
        self._refused += shard.protocol.refused

    def count(self, frames: int, shards: Iterable[Shard]) -> None:
        """Update the frame metrics; once a second, since a metric costs more than a frame."""
        ignored = self._all_ignored(shards).total()
        metrics.FRAMES.labels(self._venue).inc(frames - self._counted[0])
        metrics.FRAMES_IGNORED.labels(self._venue).inc(ignored - self._counted[1])
        self._counted = (frames, ignored)

    def report(self, shards: Sequence[Shard]) -> dict[str, Any]:
        """Return the status of connections, frames and instruments, for ``/status``."""
        ignored = self._all_ignored(shards)
        instruments: dict[str, Any] = {}
        for shard in shards:
            for symbol, state in shard.protocol.instruments.items():
                if shard.handover is None:
                    instruments[symbol] = state.report()
                elif shard.successor is not None:
                    instruments[symbol] = shard.handover.report(symbol)
        return {
            "connections": [
                {"connected": shard.connected, "symbols": len(shard.protocol.instruments), "halted": shard.halted}
                for shard in shards
            ],
            "frames_waiting": sum(shard.protocol.waiting for shard in shards),
            "frames_ignored": ignored.total(),
            "ignored": dict(ignored),
            "dead_letters": self._refused + sum(shard.protocol.refused for shard in shards),
            "refused": {
                symbol: channels
                for shard in shards
                if shard.successor is None
                for symbol, channels in shard.protocol.refusals().items()
            },
            "instruments": instruments,
        }

    def _all_ignored(self, shards: Iterable[Shard]) -> Counter[str]:
        return sum((shard.protocol.ignored for shard in shards), self._ignored)
