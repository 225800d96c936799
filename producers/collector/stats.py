"""What a collector counts over all its lines, those that are no more among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from alphapulse import metrics
from producers.collector.shard import Line


class Figures:
    """The sums.

    Args:
        venue: labels the metrics.
    """

    def __init__(self, venue: str) -> None:
        self._venue = venue
        self._ignored: Counter[str] = Counter()
        self._refused = 0
        self._counted = (0, 0)

    def keep(self, line: Line) -> None:
        """Keep the figures of a line that is over."""
        self._ignored += line.protocol.ignored
        self._refused += line.protocol.refused

    def count(self, frames: int, lines: Iterable[Line]) -> None:
        """Bring the metrics of frames up to date; once a second, for a frame costs less than its metric."""
        ignored = self._all_ignored(lines).total()
        metrics.FRAMES.labels(self._venue).inc(frames - self._counted[0])
        metrics.FRAMES_IGNORED.labels(self._venue).inc(ignored - self._counted[1])
        self._counted = (frames, ignored)

    def report(self, lines: Sequence[Line]) -> dict[str, Any]:
        """Return what ``/status`` tells of connections, frames and instruments."""
        ignored = self._all_ignored(lines)
        instruments: dict[str, Any] = {}
        for line in lines:
            for symbol, state in line.protocol.instruments.items():
                if line.handover is None:
                    instruments[symbol] = state.report()
                elif line.heir is not None:
                    instruments[symbol] = line.handover.report(symbol)
        return {
            "connections": [
                {"connected": line.connected, "symbols": len(line.protocol.instruments), "halted": line.halted}
                for line in lines
            ],
            "frames_waiting": sum(line.protocol.waiting for line in lines),
            "frames_ignored": ignored.total(),
            "ignored": dict(ignored),
            "dead_letters": self._refused + sum(line.protocol.refused for line in lines),
            "refused": {
                symbol: channels
                for line in lines
                if line.heir is None
                for symbol, channels in line.protocol.refusals().items()
            },
            "instruments": instruments,
        }

    def _all_ignored(self, lines: Iterable[Line]) -> Counter[str]:
        return sum((line.protocol.ignored for line in lines), self._ignored)
