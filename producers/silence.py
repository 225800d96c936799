"""Which instruments a venue has stopped talking about although its connection lives. Pure."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Final

from producers.roster import InstrumentState

LONGEST_SECONDS: Final = 3600.0
"""A market in which nothing happens is asked for again ever more rarely, but at least this often."""
SNAPSHOT_SECONDS: Final = 30.0
"""A book without a snapshot for so long is asked for again."""


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


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do: ``drop`` the connection, for the reason given, or ``revive`` symbols silent for so many seconds."""

    drop: str = ""
    revive: Mapping[str, float] = field(default_factory=dict)


class Watchdog:
    """Watches the instruments of one connection.

    Args:
        seconds: how long an instrument may be silent; None: for ever.

    Attributes:
        tick: how often to look, seconds.
    """

    def __init__(self, seconds: float | None) -> None:
        limit = seconds if seconds is not None else math.inf
        self.tick = min(1.0, limit / 4)
        self._heard = SilenceWatch(limit)
        # Also a snapshot that was asked for can get lost, while updates that need it go on.
        self._awaited = SilenceWatch(min(limit, SNAPSHOT_SECONDS) if seconds is not None else limit)

    def look(
        self, instruments: Mapping[str, InstrumentState], asked: Container[str], now: float, *, listening: bool
    ) -> Verdict:
        """Say what is to be done at ``now``.

        Args:
            instruments: all of the connection's.
            asked: those for which a request is under way.
            now: monotonic seconds.
            listening: see :meth:`SilenceWatch.silent`.
        """
        states = {symbol: state for symbol, state in instruments.items() if symbol not in asked}
        spoke = {symbol: state.tally.activity for symbol, state in states.items()}
        books = {symbol: state.tally.snapshots for symbol, state in states.items() if not state.book.valid}
        silent = self._heard.silent(spoke, now, listening=listening)
        late = self._awaited.silent(books, now, listening=listening)
        if silent and len(silent) == len(instruments):
            shortest = min(silent.values())
            if len(silent) > 1 or shortest > self._heard.seconds:  # a single one was asked for again already
                return Verdict(drop=f"connected, but no instrument was heard of for {shortest:g} s")
        return Verdict(revive={s: t for s, t in {**silent, **late}.items() if s in late or s not in books})
