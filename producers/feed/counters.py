"""Counters per instrument, named as in ``/status`` and in the replay's summary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from alphapulse.fixed import decimal_text

_OF_TRADES: Final = frozenset({"trades", "duplicate_trades", "trade_gaps", "_volume", "_volume_exponent"})


@dataclass(slots=True)
class InstrumentCounters:
    """Counters of one instrument since the process started."""

    snapshots: int = 0
    """The venue's snapshots that opened an epoch; epochs opened for wider exponents are not counted."""
    deltas: int = 0
    level_changes: int = 0
    """(price, size) entries of the venue's updates that became deltas."""
    trades: int = 0
    duplicate_trades: int = 0
    gaps: int = 0
    trade_gaps: int = 0
    """Gaps in consecutive trade ids; where a feed has no other sequence they also count in ``gaps``."""
    checksums_ok: int = 0
    checksums_bad: int = 0
    ignored: int = 0
    """Updates older than the snapshot, or received while the book waited for one."""
    withheld: int = 0
    """Updates and snapshots applied while the collector was late; the next SNAPSHOT contains them."""
    crossed: int = 0
    """Updates and snapshots applied while the venue showed the book crossed."""
    unchanged: int = 0
    """Messages of the venue that confirm an unchanged book, including snapshots requested for comparison."""
    published_l2: int = 0
    """SNAPSHOT and DELTA records."""
    published_changes: int = 0
    """(price, size) entries of the DELTA records: the venue's, and deletes of what left the subscribed depth."""
    invalidations: int = 0
    """INVALID records."""
    resyncs: int = 0
    """Snapshots requested again after a fault."""
    _volume: int = 0
    _volume_exponent: int = 0

    def add_volume(self, size: int, exponent: int) -> None:
        """Add a trade's size, at any exponent."""
        if exponent < self._volume_exponent:
            self._volume *= 10 ** (self._volume_exponent - exponent)
            self._volume_exponent = exponent
        elif exponent > self._volume_exponent:
            size *= 10 ** (exponent - self._volume_exponent)
        self._volume += size

    def take_over(self, book: InstrumentCounters, trades: InstrumentCounters) -> None:
        """Set the book counters to the sum of these and ``book``'s, and the trade counters to ``trades``'."""
        for name in self.__slots__:
            mine, earlier = getattr(self, name), getattr(book, name)
            setattr(self, name, getattr(trades, name) if name in _OF_TRADES else mine + earlier)

    @property
    def life(self) -> int:
        """Activity counter: grows with everything that proves the book's subscription alive. Trades do not count: they
        are a separate subscription."""
        return self.snapshots + self.deltas + self.withheld + self.crossed + self.ignored + self.unchanged

    @property
    def base_volume(self) -> str:
        """The exact total size of all trades, as decimal text."""
        return decimal_text(self._volume, self._volume_exponent)

    def report(self) -> dict[str, Any]:
        """Return all counters, JSON-serializable."""
        figures = {name: getattr(self, name) for name in self.__slots__ if not name.startswith("_")}
        return {**figures, "base_volume": self.base_volume}
