"""State of partition n of the input topics: instruments, symbols, and read positions.

``md.l2`` and ``md.trades`` have the same keys, so their partitions with the same number hold the same instruments;
``md.depth`` is keyed by symbol. With range assignment partition n of all three belongs to the same worker: together
they are the unit of checkpoints and handovers.

Pure: records and times are arguments.
"""

from __future__ import annotations

from collections.abc import Iterable

from alphapulse import topics
from alphapulse.instruments import instrument_key
from schemas.book_reader import Outcome
from schemas.checkpoints import Positions
from schemas.records import ArbitrageOpportunity, Candle, DeltaStatistics, Depth, Event, L2Update, Record, Trade
from stream_processors.processing.arbitrage import ArbitrageRules, SymbolState
from stream_processors.processing.instrument import ProcessedInstrument, Rules
from stream_processors.processing.state import InstrumentRecord

INPUTS = (topics.L2, topics.TRADES, topics.DEPTH)


class Partition:
    """All state of one partition number.

    Attributes:
        number: the partition.
        instruments: by ``venue|symbol``.
        symbols: by symbol.
        changed_symbols: symbols changed since their last checkpoint.
        positions: topic → offset of the next record to apply; a topic not read yet is missing.
        muted_until: topic → offset below which an earlier owner processed the records and published the results:
            applying them again publishes nothing.
        gaps: losses found in books.
        rereading: whether records of ``md.depth`` from before this owner's takeover are being read.
    """

    def __init__(self, number: int, rules: Rules, arbitrage: ArbitrageRules) -> None:
        self.number = number
        self.instruments: dict[str, ProcessedInstrument] = {}
        self.symbols: dict[str, SymbolState] = {}
        self.changed_symbols: set[str] = set()
        self.positions: Positions = {}
        self.muted_until: Positions = {}
        self.gaps = 0
        self._rules = rules
        self._arbitrage = arbitrage
        self._pending: set[ProcessedInstrument] = set()
        self._active: set[ProcessedInstrument] = set()
        self._open: dict[str, SymbolState] = {}
        self.rereading = False
        self._reread_until = 0
        self._reread_by = 0
        # Records of a key below these positions were applied before its state was saved, although the partition is
        # read again from further back.
        self._ahead: dict[str, Positions] = {}

    def instrument(self, venue: str, symbol: str) -> ProcessedInstrument:
        """Return the instrument's state; created if unknown."""
        key = instrument_key(venue, symbol)
        found = self.instruments.get(key)
        if found is None:
            found = self.instruments[key] = ProcessedInstrument(venue, symbol, self._rules)
        return found

    def muted(self, topic: str, offset: int) -> bool:
        """Return whether an earlier owner published the results of the record at ``offset``."""
        return offset < self.muted_until.get(topic, 0)

    def _applied(self, key: str, topic: str, offset: int) -> bool:
        return key in self._ahead and offset < self._ahead[key].get(topic, 0)

    # --- records ---

    def apply_l2(self, offset: int, update: L2Update, now: int, out: list[Record]) -> None:
        """Apply the record at ``offset`` of ``md.l2``; records to publish are appended to ``out``."""
        instrument = self.instrument(update.venue, update.symbol)
        if self._ahead and self._applied(instrument_key(update.venue, update.symbol), topics.L2, offset):
            return
        before = len(out)
        if instrument.apply_l2(update, now, out) is Outcome.GAP:
            self.gaps += 1
        if self.muted(topics.L2, offset):
            del out[before:]
            # Changes still pending when the earlier owner stopped are published once the muted records end.
            instrument.depth.mark()
        if instrument.depth.pending:
            self._pending.add(instrument)
        self._active.add(instrument)

    def apply_trade(self, offset: int, trade: Trade, now: int, out: list[Record]) -> None:
        """Apply the record at ``offset`` of ``md.trades`` (candles track themselves what was published)."""
        instrument = self.instrument(trade.venue, trade.symbol)
        if self._ahead and self._applied(instrument_key(trade.venue, trade.symbol), topics.TRADES, offset):
            return
        before = len(out)
        instrument.apply_trade(trade, now, out)
        if self.muted(topics.TRADES, offset):
            out[before:] = [record for record in out[before:] if not isinstance(record, Event)]
        self._active.add(instrument)

    def apply_depth(self, offset: int, depth: Depth, now: int, out: list[Record]) -> None:
        """Apply the record at ``offset`` of ``md.depth``."""
        if self.rereading and offset >= self._reread_until:
            self._end_rereading(now, out)
        if self._ahead and self._applied(depth.symbol, topics.DEPTH, offset):
            return
        symbol = self._symbol(depth.symbol)
        self.changed_symbols.add(depth.symbol)
        if self.muted(topics.DEPTH, offset):
            # Its results were published; they are read back, not derived again with another clock.
            symbol.take(depth)
            return
        out += symbol.apply(depth, now, again=self.rereading)
        self._note_open(symbol)

    def _symbol(self, name: str) -> SymbolState:
        found = self.symbols.get(name)
        if found is None:
            found = self.symbols[name] = SymbolState(name, self._arbitrage)
        return found

    def _note_open(self, symbol: SymbolState) -> None:
        if symbol.open:
            self._open[symbol.symbol] = symbol
        else:
            self._open.pop(symbol.symbol, None)

    def _end_rereading(self, now: int, out: list[Record]) -> None:
        self.rereading = False
        for symbol in self.symbols.values():
            self._decided(symbol, symbol.reread(now), out)

    def _decided(self, symbol: SymbolState, made: list[ArbitrageOpportunity], out: list[Record]) -> None:
        if made:
            out += made
            self.changed_symbols.add(symbol.symbol)
        self._note_open(symbol)

    def tick_depth(self, now: int, out: list[Record]) -> None:
        """Publish the books whose interval is over at ``now`` without a further record."""
        if not self._pending or self.muted(topics.L2, self.positions.get(topics.L2, 0)):
            return
        for instrument in list(self._pending):
            if (depth := instrument.depth.tick(now)) is not None:
                out.append(depth)
            if not instrument.depth.pending:
                self._pending.discard(instrument)

    def depth_due(self) -> int | None:
        """Return when :meth:`tick_depth` has something to do, by the clock of ``now``; None: not before a record."""
        if not self._pending or self.muted(topics.L2, self.positions.get(topics.L2, 0)):
            return None
        return min((due for one in self._pending if (due := one.depth.due) is not None), default=None)

    def tick(self, now: int, out: list[Record]) -> None:
        """Publish the windows and candles that are over at ``now``, and close opportunities on stale books."""
        for instrument in list(self._active):
            instrument.tick(now, out)
            if not instrument.active:
                self._active.discard(instrument)
        if self.rereading:
            if self.positions.get(topics.DEPTH, 0) >= self._reread_until:
                self._end_rereading(now, out)
            elif now < self._reread_by:
                return  # newer records of the books have not been read yet
        for symbol in list(self._open.values()):
            self._decided(symbol, symbol.tick(now), out)

    def flush(self, now: int, out: list[Record]) -> None:
        """Publish everything pending as it is, at the end of the process."""
        self.tick_depth(now + 3_600_000_000_000, out)
        for instrument in self._active:
            instrument.flush(out)

    # --- checkpoints ---

    def restore_instrument(self, record: InstrumentRecord, now: int) -> None:
        """Restore an instrument's state."""
        instrument = self.instrument(record.venue, record.symbol)
        instrument.restore(record, now)
        self._ahead[instrument_key(record.venue, record.symbol)] = record.positions
        self._active.add(instrument)
        if instrument.depth.pending:
            self._pending.add(instrument)

    def restore_symbol(
        self, symbol: str, books: Iterable[Depth], opportunities: Iterable[ArbitrageOpportunity], positions: Positions
    ) -> None:
        """Restore a symbol's state."""
        found = self._symbol(symbol)
        found.restore(books, opportunities)
        self._note_open(found)
        self._ahead[symbol] = positions

    def begin_rereading(self, end: int, now: int) -> None:
        """Record that ``md.depth`` below ``end`` was published while an earlier owner was still working.

        Until it has been read, or is old by the clock, opportunities are not closed because of stale books.
        """
        self.rereading = True
        self._reread_until = end
        self._reread_by = now + self._arbitrage.max_book_age

    def was_published(self, record: Record) -> None:
        """Record what an earlier owner published after its last checkpoint: candle, window or opportunity."""
        if isinstance(record, Candle):
            self.instrument(record.venue, record.symbol).candles.was_published(record)
        elif isinstance(record, DeltaStatistics):
            self.instrument(record.venue, record.symbol).windows.was_published(record.window_end)
        elif isinstance(record, ArbitrageOpportunity):
            symbol = self._symbol(record.symbol)
            symbol.was_published(record)
            self.changed_symbols.add(record.symbol)
            self._note_open(symbol)
