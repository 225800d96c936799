"""State of one instrument: its book, windows, candles and counts.

Pure: records and times are arguments, records to publish are appended to a list.
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas.book_reader import BookReader, Outcome
from schemas.checkpoints import VERSION, BookState, Positions
from schemas.records import Event, L2Update, Record, Trade
from stream_processors.processing.candles import Candles
from stream_processors.processing.depth import DepthConflation
from stream_processors.processing.state import InstrumentRecord, Totals
from stream_processors.processing.statistics import DeltaWindows
from stream_processors.processing.trade_ids import TradeIds

SERVICE = "processors"


@dataclass(frozen=True, slots=True)
class Rules:
    """Processing rules; all times in nanoseconds (see ``[processors]`` of the configuration)."""

    depth_levels: int = 20
    depth_interval: int = 10_000_000
    stats_interval: int = 1_000_000_000
    candle_intervals: tuple[int, ...] = (1_000_000_000, 60_000_000_000)
    candle_lateness: int = 120_000_000_000


class ProcessedInstrument:
    """One instrument (venue, symbol) on one worker.

    Attributes:
        dirty: whether it has changed since its last checkpoint.
    """

    __slots__ = ("_doubting", "candles", "depth", "dirty", "ids", "reader", "symbol", "totals", "venue", "windows")

    def __init__(self, venue: str, symbol: str, rules: Rules) -> None:
        self.venue = venue
        self.symbol = symbol
        self.dirty = True
        self.reader = reader = BookReader()
        self.totals = Totals()
        self.ids = TradeIds()
        self.depth = DepthConflation(venue, symbol, reader, levels=rules.depth_levels, interval_ns=rules.depth_interval)
        self.windows = DeltaWindows(venue, symbol, reader, rules.stats_interval)
        self.candles = Candles(venue, symbol, rules.candle_intervals, rules.candle_lateness)
        # Whether the last trade had no credible time: reported once for consecutive trades without one.
        self._doubting = False

    def apply_l2(self, update: L2Update, now: int, out: list[Record]) -> Outcome:
        """Apply a record of ``md.l2`` and return its effect on the book.

        Args:
            update: the record.
            now: the clock's time.
            out: records to publish are appended here.
        """
        if update.kind == "HEARTBEAT" and not self.reader.would_lose(update):
            return self._confirm(update, now, out)
        self.dirty = True
        if (earlier := self.depth.before(update, now)) is not None:
            out.append(earlier)
        self.windows.before(update.received_time, now)
        reader, totals = self.reader, self.totals
        epoch, sequence = reader.epoch, reader.sequence
        outcome = reader.apply(update)
        if outcome is Outcome.DELTA:
            totals.deltas += 1
            totals.level_changes += len(update.bid_prices) + len(update.ask_prices)
        elif outcome is Outcome.SNAPSHOT:
            totals.snapshots += 1
        elif outcome is Outcome.INVALIDATED:
            totals.invalidated += 1
        elif outcome is Outcome.GAP:
            totals.gaps += 1
            out.append(self._gap(update, epoch, sequence))
        self.windows.after(update, outcome)
        if (depth := self.depth.after(update, outcome)) is not None:
            out.append(depth)
        return outcome

    def _confirm(self, heartbeat: L2Update, now: int, out: list[Record]) -> Outcome:
        """Apply a heartbeat: it belongs to no window and no count, and needs no new checkpoint of the book."""
        if (earlier := self.depth.before(heartbeat, now)) is not None:
            out.append(earlier)
        outcome = self.reader.apply(heartbeat)
        if (depth := self.depth.after(heartbeat, outcome)) is not None:
            out.append(depth)
        return outcome

    def apply_trade(self, trade: Trade, now: int, out: list[Record]) -> None:
        """Apply a record of ``md.trades`` (arguments as for :meth:`apply_l2`)."""
        self.dirty = True
        if not self.ids.add(trade.trade_id):
            self.totals.duplicate_trades += 1
            return
        self.totals.trade(trade.size, trade.size_exponent)
        self.windows.trade(trade.received_time)
        candles = self.candles
        doubted, too_late = candles.doubted, candles.too_late
        out += candles.add(trade, now)
        if candles.too_late != too_late:
            out.append(self._too_late(trade))
        if candles.doubted == doubted:
            self._doubting = False
        elif not self._doubting:
            self._doubting = True
            out.append(self._doubted(trade))

    @property
    def active(self) -> bool:
        """Whether :meth:`tick` is needed."""
        return self.windows.active or self.candles.active

    def tick(self, now: int, out: list[Record]) -> None:
        """Publish the windows and candles that end by the clock alone."""
        self._publish([*self.windows.tick(now), *self.candles.tick(now)], out)

    def flush(self, out: list[Record]) -> None:
        """Publish everything unfinished as it is, at the end of the process."""
        self._publish([*self.windows.flush(), *self.candles.flush()], out)

    def _publish(self, made: list[Record], out: list[Record]) -> None:
        out += made
        self.dirty = self.dirty or bool(made)

    def state(self, positions: Positions) -> InstrumentRecord:
        """Return the state for a later owner, at ``positions``."""
        return InstrumentRecord(
            version=VERSION,
            venue=self.venue,
            symbol=self.symbol,
            positions=positions,
            book=BookState.of(self.reader),
            totals=self.totals,
            windows=self.windows.state(),
            candles=self.candles.state(),
            id_ranges=self.ids.ranges,
            id_texts=self.ids.texts,
        )

    def restore(self, record: InstrumentRecord, now: int) -> None:
        """Restore an earlier owner's state; the book will be published once, whatever was published before."""
        record.book.restore(self.reader)
        self.totals = record.totals
        self.windows.restore(record.windows, now)
        self.candles.restore(record.candles, now)
        self.ids = TradeIds(record.id_ranges, record.id_texts)
        self.dirty = False
        if self.reader.epoch:
            self.depth.mark()

    def _gap(self, update: L2Update, epoch: int, sequence: int) -> Event:
        return Event(
            time=update.received_time,
            service=SERVICE,
            kind="gap",
            severity="WARNING",
            venue=self.venue,
            symbol=self.symbol,
            message="records are missing on md.l2; the book is invalid until the next snapshot",
            details={
                "expected_epoch": str(epoch),
                "expected_sequence": str(sequence + 1),
                "epoch": str(update.epoch),
                "sequence": str(update.sequence),
            },
        )

    def _too_late(self, trade: Trade) -> Event:
        message = "a trade arrived after its candle was final: it is on md.trades, but not in the candle"
        return self._trade_event(trade, "late_trade", message)

    def _doubted(self, trade: Trade) -> Event:
        return self._trade_event(
            trade,
            "trade_time_doubted",
            "the venue gives no credible trade times: until it does, trades count in the candle of their receive time",
        )

    def _trade_event(self, trade: Trade, kind: str, message: str) -> Event:
        return Event(
            time=trade.received_time,
            service=SERVICE,
            kind=kind,
            severity="WARNING",
            venue=self.venue,
            symbol=self.symbol,
            message=message,
            details={
                "trade_id": trade.trade_id,
                "exchange_time": str(trade.exchange_time),
                "received_time": str(trade.received_time),
                "market_time": str(self.candles.clock.latest),
            },
        )
