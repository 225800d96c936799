"""Staleness detection: books that a venue no longer updates although the connection is alive. Pure.

A book's subscription is proven alive by messages of that subscription and by other messages about that book alone
(:attr:`producers.feed.counters.InstrumentCounters.life`; docs/integrity.md, "What proves life"), not by other books, by
trades, or by anything that only proves that the connection is alive.

A book without such a message for too long is verified: its snapshot is requested and compared, for a quiet market is no
fault. The book becomes invalid only if the snapshot does not arrive; the connection is closed if no book of it receives
one.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from producers.feed.instruments import InstrumentState

LONGEST_SECONDS: Final = 3600.0
"""Upper bound of the verification interval, which doubles while a market is quiet."""
SNAPSHOT_SECONDS: Final = 30.0
"""Timeout for a requested snapshot; then the book is invalid and the snapshot is requested again."""


CROSSED_SECONDS: Final = 300.0
"""A crossed book is verified by a snapshot after this time, then less and less often: its updates uncross it as soon as
the venue does, unless one was lost."""
GOOD_SECONDS: Final = 60.0
"""A book published for this long after being crossed is considered out of its auction."""


@dataclass(slots=True)
class _Heard:
    life: int
    since: float
    patience: float
    asked: bool = False


class StalenessDetector:
    """Detects instruments whose activity counter does not change.

    Args:
        seconds: time without activity after which an instrument is silent; doubled each time a request brought no
            activity beyond its answer.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._heard: dict[str, _Heard] = {}
        self._last: float | None = None

    def silent(
        self, life: Mapping[str, int], now: float, *, listening: bool = True, asked: Container[str] = ()
    ) -> dict[str, float]:
        """Return the silent instruments, with the seconds of silence.

        Args:
            life: per instrument, a counter that grows with every sign of activity.
            now: monotonic seconds.
            listening: whether messages could arrive since the last call; if not, that time does not count.
            asked: instruments with a request still queued; their time does not count either.
        """
        passed = now - self._last if self._last is not None else 0.0
        self._last = now
        for symbol in self._heard.keys() - life.keys():
            del self._heard[symbol]
        found: dict[str, float] = {}
        for symbol, count in life.items():
            heard = self._heard.get(symbol)
            if heard is None:
                self._heard[symbol] = _Heard(count, now, self.seconds)
            elif count != heard.life:
                # The snapshot requested proves that the subscription is alive, not that the market moves.
                patience = heard.patience if heard.asked else self.seconds
                self._heard[symbol] = _Heard(count, now, patience)
            elif not listening or symbol in asked:
                heard.since += passed
            elif now - heard.since >= heard.patience:
                found[symbol] = heard.patience
                heard.since, heard.asked = now, True
                heard.patience = min(heard.patience * 2, max(LONGEST_SECONDS, self.seconds))
        return found


@dataclass(frozen=True, slots=True)
class StalenessVerdict:
    """Actions due.

    Attributes:
        drop: reason to close the connection; else empty.
        verify: symbol → seconds of silence; request and compare the snapshot.
        recheck: symbol → seconds crossed; request the snapshot.
        good: symbols whose books were crossed and have since been published for long enough.
        revive: symbol → seconds without the requested snapshot; the book is invalid.
    """

    drop: str = ""
    verify: Mapping[str, float] = field(default_factory=dict)
    revive: Mapping[str, float] = field(default_factory=dict)
    recheck: Mapping[str, float] = field(default_factory=dict)
    good: Sequence[str] = ()


class Watchdog:
    """Watchdog over the instruments of one connection.

    Args:
        seconds: how long an instrument may be silent; None: no limit.

    Attributes:
        tick: check interval, seconds.
    """

    def __init__(self, seconds: float | None) -> None:
        limit = seconds if seconds is not None else math.inf
        self.tick = min(1.0, limit / 4)
        self._heard = StalenessDetector(limit)
        # A requested snapshot can be lost too, while the updates that need it go on.
        self._awaited = StalenessDetector(min(limit, SNAPSHOT_SECONDS) if seconds is not None else limit)
        self._crossed = StalenessDetector(CROSSED_SECONDS)
        self._uncrossed: dict[str, float] = {}
        self._limit = limit
        self._total = -1
        self._since = 0.0
        self._last = 0.0

    def look(
        self, instruments: Mapping[str, InstrumentState], asked: Container[str], now: float, *, listening: bool
    ) -> StalenessVerdict:
        """Return the actions due at ``now``.

        Args:
            instruments: all instruments of the connection.
            asked: instruments with a request still queued.
            now: monotonic seconds.
            listening: see :meth:`StalenessDetector.silent`.
        """
        life = {symbol: state.tally.life for symbol, state in instruments.items()}
        awaited = {
            symbol: state.tally.snapshots
            for symbol, state in instruments.items()
            if state.book.verifying or not state.book.follows
        }
        silent = self._heard.silent(life, now, listening=listening, asked=asked)
        late = self._awaited.silent(awaited, now, listening=listening, asked=asked)
        mute = self._mute(sum(life.values()), now, listening=listening)
        if mute >= self._limit and instruments and not any(state.book.follows for state in instruments.values()):
            return StalenessVerdict(drop=f"connection open, but no message about any instrument for {self._limit:g} s")
        crossed = {symbol: state.book for symbol, state in instruments.items() if state.book.crossing.known}
        hidden = {symbol for symbol, book in crossed.items() if book.crossing.hides and symbol not in awaited}
        waits = [symbol for symbol in crossed if symbol not in hidden or symbol in asked]
        return StalenessVerdict(
            verify={s: t for s, t in silent.items() if s not in awaited and s not in hidden},
            revive=late,
            recheck=self._crossed.silent(dict.fromkeys(crossed, 0), now, asked=waits),
            good=self._good([symbol for symbol, book in crossed.items() if book.published], now),
        )

    def _good(self, published: Sequence[str], now: float) -> tuple[str, ...]:
        """Return which previously crossed books have been ``published`` for long enough."""
        since = self._uncrossed
        self._uncrossed = {symbol: since.get(symbol, now) for symbol in published}
        return tuple(symbol for symbol, began in self._uncrossed.items() if now - began >= GOOD_SECONDS)

    def _mute(self, total: int, now: float, *, listening: bool) -> float:
        """Return for how many seconds no instrument had activity; ``total`` is the sum of all activity counters."""
        if total != self._total:
            self._total, self._since = total, now
        elif not listening:
            self._since += now - self._last
        self._last = now
        return now - self._since
