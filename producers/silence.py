"""Which instruments a venue has stopped talking about although its connection lives. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

LONGEST_SECONDS: Final = 3600.0
"""A market in which nothing happens is asked for again ever more rarely, but at least this often."""


@dataclass(slots=True)
class _Heard:
    activity: int
    since: float
    patience: float
    revived: bool = False


class SilenceWatch:
    """Compares how much was heard of each instrument with the last time it was asked.

    Args:
        seconds: without a sign of life for so long an instrument is silent; twice as long each time that
            reviving it did not make it speak.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._heard: dict[str, _Heard] = {}
        self._last: float | None = None

    def silent(self, activity: Mapping[str, int], now: float, *, listening: bool = True) -> dict[str, float]:
        """Return the instruments to be revived, with the seconds for which nothing came of them.

        Args:
            activity: per instrument a number that grows with everything heard of it.
            now: monotonic seconds.
            listening: whether anything could be heard since the last time; if not, that time does not count.
        """
        passed = now - self._last if self._last is not None else 0.0
        self._last = now
        for symbol in self._heard.keys() - activity.keys():
            del self._heard[symbol]
        found: dict[str, float] = {}
        for symbol, count in activity.items():
            heard = self._heard.get(symbol)
            if heard is None:
                self._heard[symbol] = _Heard(count, now, self.seconds)
            elif count != heard.activity:
                # The snapshot that answers a revival proves that the venue knows it, not that its market moves.
                patience = heard.patience if heard.revived else self.seconds
                self._heard[symbol] = _Heard(count, now, patience)
            elif not listening:
                heard.since += passed
            elif now - heard.since >= heard.patience:
                found[symbol] = heard.patience
                heard.since, heard.revived = now, True
                heard.patience = min(heard.patience * 2, max(LONGEST_SECONDS, self.seconds))
        return found
