"""What a collector counts per instrument; the names are those of ``/status`` and of the replay's summary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from alphapulse.fixed import decimal_text

_OF_TRADES: Final = frozenset({"trades", "duplicate_trades", "trade_gaps", "_volume", "_volume_exponent"})


@dataclass(slots=True)
class InstrumentCounters:
    """One instrument's figures since the process started."""

    snapshots: int = 0
    """The venue's snapshots that became an epoch; epochs opened for wider exponents are not among them."""
    deltas: int = 0
    level_changes: int = 0
    """(price, size) entries of the venue's updates that became deltas."""
    trades: int = 0
    duplicate_trades: int = 0
    gaps: int = 0
    trade_gaps: int = 0
    """Jumps in consecutive trade ids; where a feed has no other sequence they are counted in ``gaps`` as well."""
    checksums_ok: int = 0
    checksums_bad: int = 0
    ignored: int = 0
    """Updates older than the snapshot, or that came while the book waited for one."""
    withheld: int = 0
    """Updates and snapshots that were applied while the collector was late: the SNAPSHOT after them contains them."""
    crossed: int = 0
    """Likewise while the venue itself showed the book crossed."""
    unchanged: int = 0
    """Words of the venue that the book has not changed: messages that say just that, snapshots asked for to compare."""
    published_l2: int = 0
    """SNAPSHOT and DELTA records."""
    published_changes: int = 0
    """(price, size) entries of the DELTA records: the venue's, and deletes of what left the subscribed depth."""
    invalidations: int = 0
    """INVALID records."""
    resyncs: int = 0
    """Times a new snapshot was asked for."""
    _volume: int = 0
    _volume_exponent: int = 0

    def add_volume(self, size: int, exponent: int) -> None:
        """Add a trade's size, whatever the exponents so far."""
        if exponent < self._volume_exponent:
            self._volume *= 10 ** (self._volume_exponent - exponent)
            self._volume_exponent = exponent
        elif exponent > self._volume_exponent:
            size *= 10 ** (exponent - self._volume_exponent)
        self._volume += size

    def take_over(self, book: InstrumentCounters, trades: InstrumentCounters) -> None:
        """Become the sum of this one's figures on the book, ``book``'s, and ``trades``' figures on trades."""
        for name in self.__slots__:
            mine, earlier = getattr(self, name), getattr(book, name)
            setattr(self, name, getattr(trades, name) if name in _OF_TRADES else mine + earlier)

    @property
    def life(self) -> int:
        """A number that grows with everything that proves the subscription of the book alive. Trades do not: they are
        subscribed to apart from it."""
        return self.snapshots + self.deltas + self.withheld + self.crossed + self.ignored + self.unchanged

    @property
    def base_volume(self) -> str:
        """The exact sum of all trades' sizes as decimal text."""
        return decimal_text(self._volume, self._volume_exponent)

    def report(self) -> dict[str, Any]:
        """Return all figures, JSON-able."""
        figures = {name: getattr(self, name) for name in self.__slots__ if not name.startswith("_")}
        return {**figures, "base_volume": self.base_volume}
