"""Statistics of a collector over all its shards, retired ones included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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
        self._newest = 0
        # A rate needs a value before the first loss: a counter that begins at 1 has not risen.
        for kind in metrics.GAP_KINDS:
            metrics.GAPS.labels(venue, kind)

    def keep(self, shard: Shard) -> None:
        """Keep the counters of a retired shard."""
        self._ignored += shard.protocol.ignored
        self._refused += shard.protocol.refused

    def count(self, frames: int, shards: Sequence[Shard]) -> None:
        """Update the metrics of frames, connections and ages; once a second, since a metric costs more than a frame."""
        ignored = self._all_ignored(shards).total()
        metrics.FRAMES.labels(self._venue).inc(frames - self._counted[0])
        metrics.FRAMES_IGNORED.labels(self._venue).inc(ignored - self._counted[1])
        self._counted = (frames, ignored)
        metrics.CONNECTED.labels(self._venue).set(any(shard.connected for shard in shards))
        self._observe_ages([pair for shard in shards if (pair := shard.protocol.newest(self._newest)) is not None])

    def count_budgets(self, budgets: Mapping[str, float]) -> None:
        """Update how much of each of the venue's limits (name → share from 0 to 1) is left."""
        for limit, left in budgets.items():
            metrics.REQUEST_BUDGET.labels(self._venue, limit).set(left)

    def _observe_ages(self, times: Sequence[tuple[int, int]]) -> None:
        """Observe receipt and exchange time (ns) of each connection's newest frame since the last call."""
        if not times:
            return
        for received, exchange in times:
            metrics.EXCHANGE_AGE.labels(self._venue).observe((received - exchange) / 1e9)
        self._newest, exchange = max(times)
        metrics.EXCHANGE_AGE_LAST.labels(self._venue).set((self._newest - exchange) / 1e9)

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
