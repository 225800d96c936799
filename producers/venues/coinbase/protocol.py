"""Coinbase Exchange protocol: ``level2_batch``, ``matches``, ``heartbeat``.

Integrity: book messages have neither sequence nor checksum. Detectable are a crossed book and a gap in ``trade_id``,
which proves only lost matches; if no later match follows, heartbeats show the gap
(:mod:`producers.venues.coinbase.heartbeats`). An invalid book ends its epoch, and the product's book channel is
resubscribed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from alphapulse.config import VenueSettings
from alphapulse.errors import FrameRefused
from producers.feed.actions import Note, Outputs
from producers.feed.book import Doubt
from producers.feed.entries import UNREADABLE
from producers.feed.instruments import InstrumentState
from producers.feed.levels import TextLevels
from producers.feed.protocol import BookRefused, Item, Operation, VenueProtocol, quoted
from producers.feed.subscriber import apart_if_few
from producers.feed.timestamps import iso_nanoseconds
from producers.venues.coinbase import messages
from producers.venues.coinbase.heartbeats import Heartbeats
from producers.venues.coinbase.symbols import venue_symbol

_OTHER_KINDS = (b'"match"', b'"last_match"', b'"heartbeat"', b'"subscriptions"', b'"error"')


class CoinbaseProtocol(VenueProtocol):
    """Coinbase Exchange's books and trades for the symbols of ``settings``.

    Raises:
        ConfigError: a symbol that is not a pair, or a depth (the channel has a fixed depth).
    """

    BOOK = "level2_batch"
    TRADES = "matches"
    OTHERS = ("heartbeat",)
    IN_ORDER = True

    def __init__(self, settings: VenueSettings, venue: str = "coinbase") -> None:
        super().__init__(venue)
        self._heartbeats: dict[str, Heartbeats] = {}
        self._without_trades: set[str] = set()
        faults = []
        if settings.depth is not None:
            faults.append(f"venues.{venue}.depth: cannot be set for this venue, found {settings.depth}")
        self._set_up(settings, faults)

    def _new_state(self, symbol: str) -> InstrumentState:
        return InstrumentState(self.venue, symbol, venue_symbol(symbol))

    def _batches(self, items: Sequence[Item]) -> Iterable[Sequence[Item]]:
        """One message per set of products with the same channels; few products get one message each."""
        channels: dict[str, list[str]] = {}
        for channel, symbol in items:
            channels.setdefault(symbol, []).append(channel)
        for same in dict.fromkeys(map(tuple, channels.values())):
            symbols = [symbol for symbol in channels if tuple(channels[symbol]) == same]
            yield from apart_if_few([(channel, symbol) for channel in same for symbol in symbols])

    def _remove_instrument(self, state: InstrumentState) -> None:
        super()._remove_instrument(state)
        self._heartbeats.pop(state.symbol, None)
        self._without_trades.discard(state.symbol)

    def disconnected(self, received_time: int) -> Outputs:
        self._heartbeats.clear()
        self._without_trades.clear()
        return super().disconnected(received_time)

    def _message(self, operation: Operation, items: Sequence[Item], number: int) -> str:
        channels = quoted(dict.fromkeys(channel for channel, _ in items))
        return f'{{"type":"{operation}","product_ids":{quoted(self._names(items))},"channels":{channels}}}'

    def _handle(self, frame: bytes, received_time: int, outputs: Outputs) -> None:
        try:
            message = messages.decode_message(frame)
        except UNREADABLE:
            kind = messages.decode_type(frame).type
            if kind not in messages.IGNORED:
                raise
            self.ignored[kind] += 1
            return
        match message:
            case messages.CoinbaseL2Update():
                self._apply_entry(message, self._update, BookRefused, frame, received_time, outputs)
            case messages.Match():
                self._apply_entry(message, self._trade, FrameRefused, frame, received_time, outputs)
            case messages.Snapshot():
                self._apply_entry(message, self._snapshot, BookRefused, frame, received_time, outputs)
            case messages.Heartbeat():
                self.ignored["heartbeat"] += 1
                if message.symbol in self._by_venue_symbol:
                    self._heartbeat(self._by_venue_symbol[message.symbol], message, outputs)
            case messages.CoinbaseSubscriptions():
                self.ignored["subscriptions"] += 1
                # A channel may be listed under another name than the one requested.
                listed = {(channel.name, name) for channel in message.channels for name in channel.product_ids or ()}
                self._take_listing(listed.__contains__, outputs, complete=False)
                outputs.append(Note("subscribed", "INFO", "subscriptions confirmed"))
            case messages.CoinbaseError():
                self.ignored["error"] += 1
                self._refused(f"{message.message}: {message.reason}"[:500], outputs)

    def _count(self, item: Item) -> int:
        # A message is accepted or refused as a whole: activity on one channel confirms the others.
        channels = (self.BOOK, self.TRADES)
        return sum(super(CoinbaseProtocol, self)._count((channel, item[1])) for channel in channels)

    def _refused(self, text: str, outputs: Outputs) -> None:
        """Handle a refusal. The message it answers is refused as a whole; the text may name the product at fault."""
        operation: Operation = "unsubscribe" if "unsubscribe" in text else "subscribe"
        named = self._mentioned(text, self._wanted(self.instruments.values()))
        self._refuse_message(self.subscriptions.oldest(operation, named), text, outputs)

    def _snapshot(
        self, state: InstrumentState, message: messages.Snapshot, received_time: int, outputs: Outputs
    ) -> Doubt | None:
        return state.book.snapshot(
            outputs,
            state.parser.levels("bids", message.bids),
            state.parser.levels("asks", message.asks),
            received_time=received_time,
            exchange_time=iso_nanoseconds(message.time) if message.time else 0,
        )

    def _update(
        self, state: InstrumentState, message: messages.CoinbaseL2Update, received_time: int, outputs: Outputs
    ) -> Doubt | None:
        bids, asks = ([], []), ([], [])  # type: tuple[list[str], list[str]], tuple[list[str], list[str]]
        for side, price, size in message.changes:
            prices, sizes = bids if side == "buy" else asks
            prices.append(price)
            sizes.append(size)
        return state.book.delta(
            outputs,
            TextLevels("buy", *bids),
            TextLevels("sell", *asks),
            received_time=received_time,
            exchange_time=iso_nanoseconds(message.time) if message.time else 0,
        )

    def _heartbeat(self, state: InstrumentState, beat: messages.Heartbeat, outputs: Outputs) -> None:
        last_trade, unchanged = self._heartbeats.setdefault(state.symbol, Heartbeats()).take(beat)
        state.tally.unchanged += unchanged
        if not last_trade or not (missing := state.trades.exists(last_trade)):
            return
        state.tally.gaps += 1
        outputs.append(self.trade_gap(state, missing, last=last_trade))
        if state.symbol not in self._without_trades:
            # The channel itself may be lost: subscribing again repeats the last match. Otherwise it has no effect.
            self._without_trades.add(state.symbol)
            outputs += self._ask("subscribe", [(self.TRADES, state.symbol)])

    def _trade(self, state: InstrumentState, message: messages.Match, received_time: int, outputs: Outputs) -> None:
        self._without_trades.discard(state.symbol)
        missing = state.trades.trade(
            outputs,
            trade_id=message.trade_id,
            # The maker sold: the aggressor bought.
            side="BUY" if message.side == "sell" else "SELL",
            price=message.price,
            size=message.size,
            exchange_time=iso_nanoseconds(message.time) if message.time else 0,
            received_time=received_time,
        )
        if missing:
            # The only sequence of this feed: its gaps are the feed's gaps.
            state.tally.gaps += 1
            self._trade_gap(state, missing, outputs)

    def _about_book(self, frame: bytes) -> bool:
        return b'"l2update"' in frame or b'"snapshot"' in frame

    def _affected_symbols(self, frame: bytes, part: bytes) -> Sequence[str]:
        # No later frame would show that this one is missing: every book it may be about becomes invalid.
        if any(kind in frame for kind in _OTHER_KINDS):
            return []
        try:
            msgspec.json.decode(frame, type=msgspec.Raw)
        except UNREADABLE:
            return self._named(frame) or list(self.instruments)
        return super()._affected_symbols(frame, part)
