"""Coinbase Advanced Trade protocol: ``level2``, ``market_trades``, ``heartbeats``.

Integrity: ``sequence_num`` increases by one with every message of the connection, over all channels, from 0. A gap
shows that something was lost but not what: every book's epoch ends and every book is resubscribed. A late or repeated
message is detected by its number; late trades are still used, for their ids show whether they are new.
https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-overview#sequence-numbers
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from alphapulse.config import VenueSettings
from alphapulse.errors import FrameRefused, ValueRefused
from producers.feed.actions import Note, Outputs, Send
from producers.feed.book import Doubt
from producers.feed.entries import UNREADABLE
from producers.feed.instruments import InstrumentState
from producers.feed.levels import TextLevels
from producers.feed.protocol import BookRefused, Item, Operation, VenueProtocol, quoted
from producers.feed.subscriber import apart_if_few
from producers.feed.timestamps import iso_nanoseconds
from producers.venues.coinbase_advanced import messages
from producers.venues.coinbase_advanced.symbols import sent_as, venue_symbol

_OTHER_CHANNELS: Final = tuple(
    f'"{name}"'.encode() for name in ("market_trades", "subscriptions", "error", *sorted(messages.IGNORED))
)

_HEARTBEATS: Final[Item] = ("heartbeats", "")


class CoinbaseAdvancedProtocol(VenueProtocol):
    """Coinbase Advanced Trade's books and trades for the symbols of ``settings``.

    Raises:
        ConfigError: a symbol that is not a pair, two symbols of one book (``BTC-USD`` and ``BTC-USDC``), or a depth
            (the channel has a fixed depth).
    """

    BOOK = "level2"
    TRADES = "market_trades"
    IN_ORDER = True

    def __init__(self, settings: VenueSettings, venue: str = "coinbase_advanced") -> None:
        super().__init__(venue)
        faults = []
        if settings.depth is not None:
            faults.append(f"venues.{venue}.depth: cannot be set for this venue, found {settings.depth}")
        self._next = 0
        self._timestamp = ""  # of the current message
        self._set_up(settings, faults)

    def _new_state(self, symbol: str) -> InstrumentState:
        return InstrumentState(self.venue, symbol, venue_symbol(symbol))

    def _add_instrument(self, symbol: str) -> InstrumentState:
        product = sent_as(venue_symbol(symbol))
        other = self._by_venue_symbol.get(product)
        if other is not None and other.symbol != symbol:
            raise ValueRefused(f"{symbol!r} is the same book as {other.symbol!r} at this venue: keep one of them")
        state = super()._add_instrument(symbol)
        self._by_venue_symbol[product] = state
        return state

    def subscribe(self) -> list[Send]:
        # Without heartbeats the venue closes quiet channels after about a minute.
        heartbeats = (
            [("heartbeats", "")] if self.instruments and not self.subscriptions.apart(("heartbeats", "")) else []
        )
        return [*self._ask("subscribe", heartbeats), *super().subscribe()]

    def _batches(self, items: Sequence[Item]) -> Iterable[Sequence[Item]]:
        for batch in super()._batches(items):
            yield from apart_if_few(batch)

    def _message(self, operation: Operation, items: Sequence[Item], number: int) -> str:
        channel = items[0][0]
        if items[0] == _HEARTBEATS:
            return f'{{"type":"{operation}","channel":"{channel}"}}'
        return f'{{"type":"{operation}","product_ids":{quoted(self._names(items))},"channel":"{channel}"}}'

    def _count(self, item: Item) -> int:
        return self.ignored["heartbeats"] if item == _HEARTBEATS else super()._count(item)

    def disconnected(self, received_time: int) -> Outputs:
        self._next = 0
        return super().disconnected(received_time)

    def _handle(self, frame: bytes, received_time: int, outputs: Outputs) -> None:
        try:
            message = messages.decode_frame(frame)
        except UNREADABLE:
            # The books it may be about become invalid anyway: its gap need not invalidate all books.
            if messages.number_of_broken(frame) == self._next:
                self._next += 1
            raise
        if message.type == "error":
            self.ignored["error"] += 1
            self._refused(f"request refused: {message.message[:450]}", outputs)
            return
        if message.channel is None or message.sequence_num is None:
            raise self._not_understood("neither channel and sequence_num nor error", frame)
        late = message.sequence_num < self._next
        if not late:
            if message.sequence_num > self._next:
                self._gap(message.sequence_num, received_time, outputs)
            self._next = message.sequence_num + 1
        match message.channel:
            case "l2_data" if late:
                self.ignored["late"] += 1
                self._ignore_late(message)
            case "l2_data":
                self._timestamp = message.timestamp
                books = self._entries(messages.BOOKS, message.events, frame, received_time, outputs)
                self._apply_entries(books, self._book, BookRefused, frame, received_time, outputs)
            case "market_trades":
                for event in self._entries(messages.TRADE_EVENTS, message.events, frame, received_time, outputs):
                    trades = self._entries(messages.TRADES, event.trades, frame, received_time, outputs)
                    oldest_first = sorted(trades, key=lambda trade: int(trade.trade_id))
                    self._apply_entries(oldest_first, self._trade, FrameRefused, frame, received_time, outputs)
            case "subscriptions":
                self.ignored["subscriptions"] += 1
                self._take_listing(_reader_of(messages.decode_listings(message.events)), outputs, complete=False)
                outputs.append(Note("subscribed", "INFO", "subscriptions confirmed"))
            case channel:
                self._ignore("channel", channel, messages.IGNORED, frame)

    def _refused(self, text: str, outputs: Outputs) -> None:
        """Handle a refusal. The message it answers is refused as a whole; the text may name the product at fault."""
        named = self._mentioned(text, self._wanted(self.instruments.values()))
        self._refuse_message(self.subscriptions.oldest(symbols=named), text, outputs)

    def _ignore_late(self, message: messages.AdvancedFrame) -> None:
        """Count the book updates of a late or repeated message; a malformed one changes nothing."""
        try:
            books = messages.BOOKS.decode(message.events)
        except UNREADABLE:
            return
        for book in books:
            if (state := self._by_venue_symbol.get(book.symbol)) is not None:
                state.tally.ignored += 1

    def _gap(self, found: int, received_time: int, outputs: Outputs) -> None:
        missing = f"messages {self._next} to {found - 1} of the connection are missing"
        for state in self.instruments.values():
            if state.book.follows:
                state.tally.gaps += 1
                state.book.end(outputs, received_time)
                self._doubt(state, Doubt("sequence", missing), outputs)
            else:  # the lost message may be the expected snapshot
                self._request_snapshot(state.symbol, outputs)

    def _book(
        self, state: InstrumentState, event: messages.BookEvent, received_time: int, outputs: Outputs
    ) -> Doubt | None:
        bids, asks = ([], []), ([], [])  # type: tuple[list[str], list[str]], tuple[list[str], list[str]]
        for update in event.updates:
            prices, sizes = bids if update.side == "bid" else asks
            prices.append(update.price_level)
            sizes.append(update.new_quantity)
        take = state.book.snapshot if event.type == "snapshot" else state.book.delta
        return take(
            outputs,
            TextLevels("bid", *bids),
            TextLevels("offer", *asks),
            received_time=received_time,
            exchange_time=iso_nanoseconds(self._timestamp) if self._timestamp else 0,
            exchange_sequence=self._next - 1,
        )

    def _trade(
        self, state: InstrumentState, trade: messages.AdvancedTrade, received_time: int, outputs: Outputs
    ) -> None:
        missing = state.trades.trade(
            outputs,
            trade_id=int(trade.trade_id),
            # The maker sold: the aggressor bought.
            side="BUY" if trade.side == "SELL" else "SELL",
            price=trade.price,
            size=trade.size,
            exchange_time=iso_nanoseconds(trade.time),
            received_time=received_time,
        )
        if missing:
            self._trade_gap(state, missing, outputs)

    def _affected_symbols(self, frame: bytes, part: bytes) -> Sequence[str]:
        # The channel comes first in a frame; a truncated one may have been about more books than it still names.
        if any(channel in frame for channel in _OTHER_CHANNELS) or messages.channel_of(frame) not in (None, "l2_data"):
            return []
        if part is not frame or frame.rstrip().endswith(b"]}]}"):
            named = self._named(part)
            if 0 < len(named) == part.count(b'"product_id"'):
                return named
        return list(self.instruments)


def _reader_of(listings: Sequence[messages.AdvancedListing]) -> Callable[[Item], bool]:
    """Return a predicate for items in a list of all subscriptions; a product matches by either of its names."""
    listed = {channel: set(names or ()) for listing in listings for channel, names in listing.subscriptions.items()}

    def is_listed(item: Item) -> bool:
        channel, symbol = item
        names = listed.get(channel, set())
        return symbol in names or sent_as(symbol) in names if symbol else channel in listed

    return is_listed
