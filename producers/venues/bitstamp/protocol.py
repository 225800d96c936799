"""Bitstamp's WebSocket v2: ``diff_order_book`` joined to REST snapshots, ``live_trades``.

Integrity: diffs carry a ``microtimestamp`` and no number, so a lost one does not show. What shows is a diff that comes
out of order, and a crossed book; either ends the epoch of that market only, and a new snapshot is fetched
(:mod:`producers.venues.bitstamp.synchronizer`). A quiet book's snapshot is compared level by level. Trade ids are those
of all markets together: they tell repetitions, no gaps.

A confirmation of a book's subscription begins its stream anew: what changed before is in no diff of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from alphapulse.config import VenueSettings
from alphapulse.errors import FrameRefused, MantissaOverflow, PrecisionExceeded, ValueRefused
from producers.feed.actions import FetchSnapshot, Note, Outputs, Reconnect
from producers.feed.book import Doubt
from producers.feed.entries import UNREADABLE
from producers.feed.instruments import InstrumentState
from producers.feed.levels import Levels
from producers.feed.protocol import BookRefused, Item, Operation, VenueProtocol
from producers.venues.bitstamp import messages
from producers.venues.bitstamp.symbols import venue_symbol
from producers.venues.bitstamp.synchronizer import MOST_KEPT, DiffStep, DiffSynchronizer, KeptDiff

SNAPSHOT_PATH: Final = "/api/v2/order_book/"
MOST_WAITING: Final = 100_000
"""Diffs kept for snapshots, of all markets together."""
LEAST_KEPT: Final = 200
"""Of one market: longer than any answer takes."""
_OTHER_KINDS: Final = (b'"bts:', b'"trade"', b'"live_trades_', b'"price_str"', b'"amount_str"', b'"buy_order_id"')


class BitstampProtocol(VenueProtocol):
    """Bitstamp's books and trades for the symbols of ``settings``.

    Raises:
        ConfigError: a symbol that is no pair, two that are one market, or a depth (the channel offers no choice).
    """

    BOOK = "diff_order_book"
    TRADES = "live_trades"

    def __init__(self, settings: VenueSettings, venue: str = "bitstamp") -> None:
        super().__init__(venue)
        faults = []
        if settings.depth is not None:
            faults.append(f"venues.{venue}.depth: the venue offers no choice, found {settings.depth}")
        self._sync: dict[str, DiffSynchronizer] = {}
        self._waiting = 0
        self._set_up(settings, faults)

    def _new_state(self, symbol: str) -> InstrumentState:
        name = venue_symbol(symbol)
        if (other := self._by_venue_symbol.get(name)) is not None:
            raise ValueRefused(f"{symbol!r} is the same market as {other.symbol!r} at this venue: name one of them")
        return InstrumentState(self.venue, symbol, name, consecutive=False)

    def _add_instrument(self, symbol: str) -> InstrumentState:
        state = super()._add_instrument(symbol)
        self._sync[symbol] = DiffSynchronizer()
        return state

    def _remove_instrument(self, state: InstrumentState) -> None:
        super()._remove_instrument(state)
        self._waiting -= self._sync.pop(state.symbol).reset()

    @property
    def waiting(self) -> int:
        return self._waiting

    # --- requests ---

    def _batches(self, items: Sequence[Item]) -> Iterable[Sequence[Item]]:
        """One message for each item: a message names one channel."""
        return ([item] for item in items)

    def _message(self, operation: Operation, items: Sequence[Item], number: int) -> str:
        ((channel, symbol),) = items
        name = self.instruments[symbol].venue_symbol
        return f'{{"event":"bts:{operation}","data":{{"channel":"{channel}_{name}"}}}}'

    def verify(self, symbol: str, seconds: float) -> Outputs:
        # The diffs go on meanwhile; one that comes before the answer says as much as the answer.
        return [*super().verify(symbol, seconds), self._snapshot_request(symbol)]

    def recheck(self, symbol: str) -> Outputs:
        # The book is not published while it is crossed, so it may as well begin anew.
        outputs = super().recheck(symbol)
        book = self.instruments[symbol].book
        book.end(outputs, book.times[0])
        self._drop(symbol)
        return [*outputs, self._snapshot_request(symbol)]

    def revive(self, symbol: str, received_time: int, seconds: float) -> Outputs:
        return [*super().revive(symbol, received_time, seconds), *self._subscribe_again(self.instruments[symbol])]

    def disconnected(self, received_time: int) -> Outputs:
        for symbol, sync in self._sync.items():
            self._drop(symbol)
            sync.subscribed = False
        return super().disconnected(received_time)

    def overdue(self, now: int) -> Outputs:
        outputs = super().overdue(now)
        outputs += [self._snapshot_request(symbol) for symbol, sync in self._sync.items() if sync.quiet(now)]
        return outputs

    def _request_snapshot(self, symbol: str, outputs: Outputs) -> None:
        # The next diff asks, or its absence: what put the book in doubt may be newer than a snapshot of this moment.
        if not self.instruments[symbol].book.follows:
            self._drop(symbol)

    def _snapshot_request(self, symbol: str, attempt: int = 0) -> FetchSnapshot:
        sync = self._sync[symbol]
        self._number += 1
        sync.request, sync.attempt = self._number, attempt
        path = f"{SNAPSHOT_PATH}{self.instruments[symbol].venue_symbol}/?group=1"
        return FetchSnapshot(symbol, path, sync.request, attempt)

    def _subscribe_again(self, state: InstrumentState) -> Outputs:
        self._sync[state.symbol].subscribed = False
        items = self._wanted([state])
        return [*self._ask("unsubscribe", items), *self._ask("subscribe", items)]

    # --- frames ---

    def _handle(self, frame: bytes, received_time: int, outputs: Outputs) -> None:
        message = messages.decode_frame(frame)
        kind, market = messages.split_channel(message.channel)
        match message.event:
            case "data" if kind == self.BOOK:
                self._diff(market, messages.decode_diff(message.data), frame, received_time, outputs)
            case "data":
                self._ignore("channel", kind, messages.OTHER_BOOKS, frame)
            case "trade" if kind == self.TRADES:
                trade = messages.decode_trade(message.data)
                trade.symbol = market
                self._apply_entry(trade, self._trade, FrameRefused, frame, received_time, outputs)
            case "bts:subscription_succeeded":
                self.ignored["subscribed"] += 1
                self._confirmed(kind, market, received_time, outputs)
            case "bts:heartbeat":
                self.ignored["heartbeat"] += 1
                self.pongs += 1
            case "bts:request_reconnect":
                self.ignored["request_reconnect"] += 1
                outputs.append(Reconnect("the venue asks for it: bts:request_reconnect"))
            case "bts:error":
                self.ignored["error"] += 1
                error = messages.decode_error(message.data)
                code = f"{error.code} " if error.code is not None else ""
                text = f"request refused: {code}{error.message}"[:500]
                self._refused(kind, market, text, outputs)
            case event:
                self._ignore("event", event, messages.IGNORED, frame)

    def _confirmed(self, kind: str, market: str, received_time: int, outputs: Outputs) -> None:
        state = self._find(market)
        if state is None:
            return
        self.subscriptions.confirm([(kind, state.symbol)])
        if kind != self.BOOK:
            return
        sync = self._sync[state.symbol]
        sync.subscribed = True
        outputs.append(Note("subscribed", "INFO", "book subscribed", state.symbol))
        if sync.live:
            state.tally.gaps += 1
            state.book.end(outputs, received_time)
            self._doubt(state, Doubt("sequence", "subscribed anew: changes before it may be missing"), outputs)
        else:
            self._drop(state.symbol)

    def _refused(self, kind: str, market: str, text: str, outputs: Outputs) -> None:
        """Take a refusal. Most do not name the channel; each message asks for one, and they are answered in turn."""
        state = self._find(market)
        if state is not None and kind in (self.BOOK, self.TRADES):
            self._refuse_items([(kind, state.symbol)], text, outputs)
        else:
            self._refuse_message(self.subscriptions.oldest("subscribe"), text, outputs)

    def _diff(self, market: str, diff: messages.Diff, frame: bytes, received_time: int, outputs: Outputs) -> None:
        state = self._find(market)
        if state is None:
            self.ignored["other_symbol"] += 1
            return
        try:
            stamp = messages.microseconds(diff.microtimestamp)
        except ValueRefused as error:
            self._refuse(self._refusal(state, error), frame, received_time, outputs)
            return
        self._take(state, KeptDiff(diff, stamp, frame, received_time), outputs)

    def _take(self, state: InstrumentState, kept: KeptDiff, outputs: Outputs) -> None:
        sync = self._sync[state.symbol]
        if not sync.live:
            self._keep(state, sync, kept, outputs)
            return
        try:
            doubt = self._follow(state, sync, kept, outputs)
        except ValueRefused as error:
            self._refuse(self._refusal(state, error), kept.frame, kept.received_time, outputs)
            return
        if doubt is not None:
            self._doubt(state, doubt, outputs)
            if doubt.kind == "crossed" and not state.book.follows:
                self._keep(state, sync, kept, outputs)

    def _keep(self, state: InstrumentState, sync: DiffSynchronizer, kept: KeptDiff, outputs: Outputs) -> None:
        most = min(MOST_KEPT, max(LEAST_KEPT, MOST_WAITING // len(self.instruments)))
        dropped = sync.keep(kept, most)
        self._waiting += 1 - dropped
        state.tally.ignored += dropped
        if not sync.request:
            outputs.append(self._snapshot_request(state.symbol))

    def _follow(self, state: InstrumentState, sync: DiffSynchronizer, kept: KeptDiff, outputs: Outputs) -> Doubt | None:
        last = sync.last
        match sync.follow(kept.stamp):
            case DiffStep.OLD:
                state.tally.ignored += 1
                return None
            case DiffStep.LATE:
                state.tally.gaps += 1
                state.book.end(outputs, kept.received_time)
                return Doubt("sequence", f"the diff of {kept.stamp} µs comes behind that of {last}")
        # It proves the subscription alive: there is nothing to be compared any more.
        state.book.verifying = sync.differed = False
        sync.request = 0
        return state.book.delta(
            outputs,
            state.parser.levels("bids", kept.diff.bids),
            state.parser.levels("asks", kept.diff.asks),
            received_time=kept.received_time,
            exchange_time=kept.stamp * 1000,
            exchange_sequence=kept.stamp,
        )

    def _trade(
        self, state: InstrumentState, trade: messages.BitstampTrade, received_time: int, outputs: Outputs
    ) -> None:
        state.trades.trade(
            outputs,
            trade_id=trade.id,
            side="SELL" if trade.type else "BUY",
            price=trade.price_str,
            size=trade.amount_str,
            exchange_time=messages.microseconds(trade.microtimestamp) * 1000,
            received_time=received_time,
        )

    # --- snapshots ---

    def snapshot(self, request: FetchSnapshot, body: bytes, received_time: int) -> Outputs:
        """Take a REST snapshot: begin the book with it and with the diffs kept, or compare a quiet book."""
        outputs: Outputs = []
        state, sync = self.instruments[request.symbol], self._sync[request.symbol]
        if request.number != sync.request:
            return outputs
        try:
            answer = messages.decode_snapshot(body)
            stamp = messages.microseconds(answer.microtimestamp)
            bids, asks = state.parser.levels("bids", answer.bids), state.parser.levels("asks", answer.asks)
            if sync.live:
                self._compare(state, sync, stamp, bids, asks, received_time, outputs)
            elif not sync.joins(stamp):
                outputs.append(self._snapshot_request(state.symbol, sync.attempt + 1))
            else:
                self._join(state, sync, stamp, bids, asks, received_time, outputs)
        except (*UNREADABLE, ValueRefused) as error:
            refusal = (
                self._refusal(state, error)
                if isinstance(error, ValueRefused)
                else self._unreadable(error, body, state.symbol)
            )
            self._dead_letter(refusal, body, state.symbol, outputs)
            outputs.append(self._snapshot_request(state.symbol, sync.attempt + 1))
        return outputs

    def _join(
        self,
        state: InstrumentState,
        sync: DiffSynchronizer,
        stamp: int,
        bids: Levels,
        asks: Levels,
        received_time: int,
        outputs: Outputs,
    ) -> None:
        doubt = state.book.snapshot(
            outputs,
            bids,
            asks,
            received_time=received_time,
            exchange_time=stamp * 1000,
            exchange_sequence=stamp,
        )
        if doubt is not None:
            self._doubt(state, doubt, outputs)
        kept = sync.join(stamp)
        self._waiting -= len(kept)
        for diff in kept:  # one that puts the book in doubt leaves those behind it waiting again
            self._take(state, diff, outputs)

    def _compare(
        self,
        state: InstrumentState,
        sync: DiffSynchronizer,
        stamp: int,
        bids: Levels,
        asks: Levels,
        received_time: int,
        outputs: Outputs,
    ) -> None:
        """Compare the snapshot with a book of which no diff has come since it was asked for.

        A diff may be on its way: only a second snapshot that differs, while still none has come, is believed. Then the
        subscription is dead, and both of the market are asked for again.
        """
        sync.request = 0
        if _shows(state, bids, asks):
            state.book.verifying = sync.differed = False
            state.tally.unchanged += 1
        elif not sync.differed or stamp < sync.last:
            sync.differed = stamp >= sync.last
            outputs.append(self._snapshot_request(state.symbol, sync.attempt + 1))
        else:
            state.book.end(outputs, received_time)
            self._doubt(state, Doubt("silence", "it had changed, though nothing was heard of it"), outputs)
            outputs += self._subscribe_again(state)

    def _refusal(self, state: InstrumentState, error: ValueRefused) -> BookRefused:
        return BookRefused(self.venue, str(error), symbol=state.symbol)

    def _drop(self, symbol: str) -> None:
        dropped = self._sync[symbol].reset()
        self._waiting -= dropped
        self.instruments[symbol].tally.ignored += dropped

    # --- what an unreadable frame may have been about ---

    def _about_book(self, frame: bytes) -> bool:
        return b'"diff_order_book_' in frame

    def _named(self, text: bytes) -> list[str]:
        names = self._by_venue_symbol.items()
        return [state.symbol for name, state in names if f'"{self.BOOK}_{name}"'.encode() in text]

    def _affected_symbols(self, frame: bytes, part: bytes) -> Sequence[str]:
        # No later frame would show that this one is missing: what may be about a book puts it in doubt.
        if any(kind in frame for kind in _OTHER_KINDS):
            return []
        try:
            msgspec.json.decode(frame, type=msgspec.Raw)
        except UNREADABLE:
            return self._named(frame) or list(self.instruments)
        return super()._affected_symbols(frame, part)


def _shows(state: InstrumentState, bids: Levels, asks: Levels) -> bool:
    """Whether these levels are the book as it is known.

    Raises:
        ValueRefused: they are no levels.
    """
    book = state.book
    try:
        sides = [side.mantissas(book.price_exponent, book.size_exponent) for side in (bids, asks)]
    except (PrecisionExceeded, MantissaOverflow):  # numbers that the book has none of
        return False
    shown = [{price: size for price, size in zip(*side, strict=True) if size} for side in sides]
    return shown == [dict(book.book.bids), dict(book.book.asks)]
