"""Trade stream of one instrument for ``md.trades``: deduplicated, with gap detection.

Venues repeat trades (after subscribing, after a reconnect). Where ids are consecutive, missing ids are kept as a few
ranges, which distinguishes a repeated trade from a late one exactly; elsewhere the last ids are remembered.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from alphapulse.errors import MantissaOverflow, NotANumber, PrecisionExceeded, ValueRefused
from alphapulse.fixed import mantissa, needed_exponent
from alphapulse.instruments import Instrument
from alphapulse.recent import RecentIds
from producers.feed.book import LEAST_DECIMALS
from producers.feed.continuation import HandedTrades
from producers.feed.counters import InstrumentCounters
from producers.feed.levels import exact, fitting
from schemas.records import Side, Trade

_REMEMBERED_RANGES: Final = 256
_REMEMBERED_IDS: Final = 65_536
_BEFORE_ALL: Final = -(2**63)
_HANDED_IDS: Final = 4096
"""Ids handed to another process where they are not consecutive: several times as many as the trades it holds back."""


@dataclass(slots=True)
class _Range:
    """Ids from ``first`` to ``last`` that have not been seen."""

    first: int
    last: int


class SeenTrades:
    """Set of seen consecutive ids, in bounded memory.

    Ids below the first one seen count as not seen: a venue may send older trades after newer ones. With more than 256
    missing ranges the oldest is dropped; a late trade in it is then treated as a duplicate, never published twice.
    """

    def __init__(self) -> None:
        self._last: int | None = None
        self._missing: list[_Range] = []  # ascending

    def seed(self, ids: Collection[int]) -> None:
        """Mark ``ids`` as seen, and all below the lowest of them, about which nothing is known."""
        for trade_id in sorted(ids):
            self.see(trade_id)
        self._missing = [missing for missing in self._missing if missing.first != _BEFORE_ALL]

    def see(self, trade_id: int) -> int | None:
        """Mark ``trade_id`` as seen; return how many ids are missing just before it, or None for a duplicate."""
        last = self._last
        if last is None:
            self._last = trade_id
            self._missing.append(_Range(_BEFORE_ALL, trade_id - 1))
            return 0
        if trade_id > last:
            self._last = trade_id
            missing = trade_id - last - 1
            if missing:
                self._missing.append(_Range(last + 1, trade_id - 1))
                del self._missing[:-_REMEMBERED_RANGES]
            return missing
        for index in range(len(self._missing) - 1, -1, -1):
            missing_range = self._missing[index]
            if missing_range.first <= trade_id <= missing_range.last:
                parts = [_Range(missing_range.first, trade_id - 1), _Range(trade_id + 1, missing_range.last)]
                self._missing[index : index + 1] = [part for part in parts if part.first <= part.last]
                del self._missing[:-_REMEMBERED_RANGES]
                return 0
        return None

    def exists(self, trade_id: int) -> int:
        """Record that ids up to ``trade_id`` exist; return how many missing ones that newly reveals."""
        last = self._last
        if last is not None and trade_id <= last:
            return 0
        self._last = trade_id
        self._missing.append(_Range(_BEFORE_ALL if last is None else last + 1, trade_id))
        del self._missing[:-_REMEMBERED_RANGES]
        return trade_id - last if last is not None else 0

    def handed_over(self) -> HandedTrades:
        """Return this set, for another process."""
        return HandedTrades(self._last, [(one.first, one.last) for one in self._missing], [])

    def continue_from(self, handed: HandedTrades) -> None:
        """Become the set of another process."""
        self._last = handed.last
        self._missing = [_Range(first, last) for first, last in handed.missing]
        if handed.recent:  # it did not know that ids are consecutive
            self.seed(handed.recent)


class RecentTrades:
    """The last 65,536 trades seen, for venues whose ids are not consecutive; gaps cannot be told."""

    def __init__(self) -> None:
        self._ids = RecentIds[int](_REMEMBERED_IDS)

    def seed(self, ids: Collection[int]) -> None:
        """Mark ``ids`` as seen."""
        for trade_id in ids:
            self._ids.add(trade_id)

    def see(self, trade_id: int) -> int | None:
        """As :meth:`SeenTrades.see`; never reports a gap."""
        return 0 if self._ids.add(trade_id) else None

    def exists(self, trade_id: int) -> int:
        """As :meth:`SeenTrades.exists`; never reports a gap."""
        return 0

    def handed_over(self) -> HandedTrades:
        """Return the last of these ids, for another process."""
        return HandedTrades(None, [], list(self._ids)[-_HANDED_IDS:])

    def continue_from(self, handed: HandedTrades) -> None:
        """Become the set of another process."""
        self._ids = RecentIds[int](_REMEMBERED_IDS, handed.recent)


class TradeStream:
    """Trade stream of one instrument.

    Args:
        instrument: names the records.
        tally: counters.
        consecutive: whether the venue's ids increase by one per trade.
    """

    def __init__(self, instrument: Instrument, tally: InstrumentCounters, *, consecutive: bool = True) -> None:
        self._instrument = instrument
        self._tally = tally
        self._seen = SeenTrades() if consecutive else RecentTrades()
        self._price_exponent = min(-LEAST_DECIMALS, instrument.price_exponent or 0)
        self._size_exponent = min(-LEAST_DECIMALS, instrument.size_exponent or 0)
        self.started = False

    def seed(self, ids: Collection[int]) -> None:
        """Mark the trades ``ids`` as published, before the first one."""
        self._seen.seed(ids)
        self.started = True

    def trade(
        self,
        outputs: list[Any],
        *,
        trade_id: int,
        side: Side,
        price: str,
        size: str,
        exchange_time: int,
        received_time: int,
    ) -> int:
        """Append the trade's record unless it is a duplicate; return how many ids are missing just before it.

        Raises:
            ValueRefused: price or size is not a number, is negative or does not fit; the id counts as seen.
        """
        self.started = True
        missing = self._seen.see(trade_id)
        if missing is None:
            self._tally.duplicate_trades += 1
            return 0
        price_mantissa, price_exponent, self._price_exponent = _mantissa(price, self._price_exponent, "price")
        size_mantissa, size_exponent, self._size_exponent = _mantissa(size, self._size_exponent, "size")
        outputs.append(
            Trade(
                venue=self._instrument.venue,
                symbol=self._instrument.symbol,
                trade_id=str(trade_id),
                side=side,
                price=price_mantissa,
                size=size_mantissa,
                price_exponent=price_exponent,
                size_exponent=size_exponent,
                exchange_time=exchange_time,
                received_time=received_time,
            )
        )
        self._tally.trades += 1
        self._tally.add_volume(size_mantissa, size_exponent)
        return missing

    def exists(self, trade_id: int) -> int:
        """Record the venue's statement that trades up to ``trade_id`` exist; return how many missing ones that reveals.

        Ids before the first one seen are not missing. A missing trade that arrives later is published.
        """
        return self._seen.exists(trade_id)

    def again(self, outputs: list[Any], trade: Trade) -> int:
        """Append ``trade``, a record from another stream of the same instrument; see :meth:`trade`."""
        missing = self._seen.see(int(trade.trade_id))
        if missing is None:
            self._tally.duplicate_trades += 1
            return 0
        outputs.append(trade)
        self._tally.trades += 1
        self._tally.add_volume(trade.size, trade.size_exponent)
        return missing

    def handed_over(self) -> HandedTrades:
        """Return which trades are published, for the process that continues the stream."""
        return self._seen.handed_over()

    def continue_from(self, handed: HandedTrades) -> None:
        """Continue the stream of another process, which publishes no more of it: only its trades count as seen."""
        self._seen.continue_from(handed)
        self.started = True

    def continue_after(self, ids: Collection[int]) -> None:
        """Continue the stream of a process that died, of whose last trades only the ``ids`` are known."""
        self._seen.continue_from(HandedTrades(None, [], []))
        if ids:
            self.seed(ids)

    def count_in(self, tally: InstrumentCounters) -> None:
        """Use the counters ``tally`` from now on."""
        self._tally = tally


def _mantissa(text: str, exponent: int, what: str) -> tuple[int, int, int]:
    """Return mantissa and exponent of ``text``, and the exponent to try first for the next value."""
    try:
        value = mantissa(text, exponent)
    except NotANumber as error:
        raise ValueRefused(f"{what}: {error}") from error
    except PrecisionExceeded:
        # Used from now on: one exponent for as many trades as possible is easiest for readers.
        wider = needed_exponent(text)
        try:
            return exact((text,), wider, what)[0], wider, wider
        except MantissaOverflow as error:
            raise ValueRefused(str(error)) from error
    except MantissaOverflow:
        values, fits = fitting((text,), exponent, what)
        return values[0], fits, exponent
    if value < 0:
        raise ValueRefused(f"{what}: negative: {text[:80]!r}")
    return value, exponent, exponent
