"""Partition n of ``md.l2`` and ``md.trades``: its instruments and how far it has been read.

Both topics have the same keys, so their partitions of one number hold the same instruments and belong to the same
worker; together they are the unit that is checkpointed and handed over.
"""

from __future__ import annotations

from alphapulse import topics
from alphapulse.instruments import instrument_key
from schemas.records import L2Update, Record
from stream_processors.instrument import InstrumentState, Rules


class InstrumentPartition:
    """The instruments of one partition number.

    Attributes:
        number: the partition.
        instruments: by ``venue|symbol``.
        positions: topic → offset of the next record to apply; a topic not read yet is missing.
        muted_until: topic → offset below which records were processed, and what followed from them published, by an
            earlier owner: applying them again publishes nothing.
    """

    def __init__(self, number: int, rules: Rules) -> None:
        self.number = number
        self.instruments: dict[str, InstrumentState] = {}
        self.positions: dict[str, int] = {}
        self.muted_until: dict[str, int] = {}
        self._rules = rules
        self._pending: set[InstrumentState] = set()

    def instrument(self, venue: str, symbol: str) -> InstrumentState:
        """Return the instrument's state, new if it was not known."""
        key = instrument_key(venue, symbol)
        found = self.instruments.get(key)
        if found is None:
            found = self.instruments[key] = InstrumentState(venue, symbol, self._rules)
        return found

    def apply_l2(self, offset: int, update: L2Update, now: int, out: list[Record]) -> None:
        """Apply the record at ``offset`` of ``md.l2``."""
        instrument = self.instrument(update.venue, update.symbol)
        before = len(out)
        instrument.apply_l2(update, now, out)
        if offset < self.muted_until.get(topics.L2, 0):
            del out[before:]
            # Whatever of it was still pending when the earlier owner stopped shows at the end of the muted records.
            instrument.depth.mark()
        if instrument.depth.pending:
            self._pending.add(instrument)

    def tick(self, now: int, out: list[Record]) -> None:
        """Publish what is due at the monotonic time ``now`` though no record came."""
        if self.positions.get(topics.L2, 0) < self.muted_until.get(topics.L2, 0):
            return
        for instrument in list(self._pending):
            if (depth := instrument.depth.tick(now)) is not None:
                out.append(depth)
            if not instrument.depth.pending:
                self._pending.discard(instrument)
