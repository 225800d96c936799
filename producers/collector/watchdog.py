"""Which books a venue has stopped talking about although its connection lives. Pure.

A book's subscription is proven alive by messages of that subscription, and by whatever else the venue says of it alone
(:attr:`producers.feed.counters.InstrumentCounters.life`; docs/integrity.md, "What proves life"): not by other books, by
trades, or by anything that only shows that the connection stands.

Where nothing of the kind comes for long, the book's snapshot is asked for and compared: a market in which nothing
happens is no damage. Only if the snapshot does not come either the book is in doubt; if no book of the connection gets
one, the connection is.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from producers.feed.instruments import InstrumentState

LONGEST_SECONDS: Final = 3600.0
"""A market in which nothing happens is asked for again ever more rarely, but at least this often."""
SNAPSHOT_SECONDS: Final = 30.0
"""A book without the snapshot that was asked for is in doubt after so long, and asked for again."""


CROSSED_SECONDS: Final = 300.0
"""The snapshot of a book that the venue shows crossed is asked for again after so long, then ever more rarely: its
updates uncross it as soon as the venue does, unless one of them got lost."""
GOOD_SECONDS: Final = 60.0
"""A book that was published for so long is out of its auction."""


@dataclass(slots=True)
class _Heard:
    life: int
    since: float
    patience: float
    asked: bool = False


class StalenessDetector:
    """Compares how much was heard of each instrument with the last time it was looked at.

    Args:
        seconds: without a sign of life for so long an instrument is silent; twice as long each time that
            asking for it did not make it speak.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._heard: dict[str, _Heard] = {}
        self._last: float | None = None

    def silent(
        self, life: Mapping[str, int], now: float, *, listening: bool = True, asked: Container[str] = ()
    ) -> dict[str, float]:
        """Return the instruments to be asked for, with the seconds for which nothing came of them.

        Args:
            life: per instrument a number that grows with everything that proves it alive.
            now: monotonic seconds.
            listening: whether anything could be heard since the last time; if not, that time does not count.
            asked: instruments for which a request still waits for its turn; their time does not count either.
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
                # The snapshot that answers proves that the venue knows it, not that its market moves.
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
    """What to do.

    Attributes:
        drop: end the connection, for this reason.
        verify: symbols of which nothing was heard for so many seconds: their snapshots are to be compared.
        recheck: symbols whose books the venue shows crossed for so many seconds: their snapshots are to be asked for.
        good: symbols whose books were crossed, and have been published for long since.
        revive: symbols whose snapshots have not come for so many seconds: they are in doubt.
    """

    drop: str = ""
    verify: Mapping[str, float] = field(default_factory=dict)
    revive: Mapping[str, float] = field(default_factory=dict)
    recheck: Mapping[str, float] = field(default_factory=dict)
    good: Sequence[str] = ()


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
        self._heard = StalenessDetector(limit)
        # Also a snapshot that was asked for can get lost, while updates that need it go on.
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
        """Say what is to be done at ``now``.

        Args:
            instruments: all of the connection's.
            asked: those for which a request still waits for its turn.
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
            return StalenessVerdict(drop=f"connected, but no instrument was heard of for {self._limit:g} s")
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
        """Return which of the books that were crossed and are ``published`` have been so for long enough."""
        since = self._uncrossed
        self._uncrossed = {symbol: since.get(symbol, now) for symbol in published}
        return tuple(symbol for symbol, began in self._uncrossed.items() if now - began >= GOOD_SECONDS)

    def _mute(self, total: int, now: float, *, listening: bool) -> float:
        """Return for how many seconds nothing was heard of any instrument, ``total`` being heard in all."""
        if total != self._total:
            self._total, self._since = total, now
        elif not listening:
            self._since += now - self._last
        self._last = now
        return now - self._since
