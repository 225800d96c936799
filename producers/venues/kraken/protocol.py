"""Kraken WebSocket v2 protocol: book with checksum, trades, instrument.

Integrity: every book message has the CRC-32 of the ten best levels of both sides
(https://docs.kraken.com/api/docs/guides/spot-ws-book-v2). A mismatch or a crossed book ends the epoch; the symbol is
resubscribed, and updates are ignored until its new snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final
from zlib import crc32

import msgspec

from alphapulse.book import BookSide
from alphapulse.config import VenueSettings
from alphapulse.errors import FrameRefused, ValueRefused
from alphapulse.instruments import Instrument
from producers.feed.actions import Note, Outputs, Send
from producers.feed.book import BookStream, Doubt
from producers.feed.instruments import InstrumentState
from producers.feed.protocol import BookRefused, Item, Operation, VenueProtocol
from producers.feed.timestamps import iso_nanoseconds
from producers.venues.kraken import messages
from producers.venues.kraken.symbols import canonical_symbol, venue_symbol

DEPTHS = (10, 25, 100, 500, 1000)
CHECKSUM_LEVELS = 10
_REFERENCE: Final[Item] = ("instrument", "")
"""Channel of the price and size precisions, which the checksums need."""


class KrakenProtocol(VenueProtocol):
    """Kraken's books and trades for the symbols of ``settings``. Each symbol of a request is answered individually.

    Raises:
        ConfigError: a depth that Kraken does not offer, or a symbol that is not a pair.
    """

    BOOK = "book"
    TRADES = "trade"

    def __init__(self, settings: VenueSettings, venue: str = "kraken") -> None:
        super().__init__(venue)
        self._depth = settings.depth if settings.depth is not None else DEPTHS[-1]
        self._precisions: dict[str, tuple[int, int]] = {}
        self._is_snapshot = False  # of the current message
        faults = []
        if self._depth not in DEPTHS:
            offered = ", ".join(map(str, DEPTHS))
            faults.append(f"venues.{venue}.depth: {self._depth} is not supported; use one of {offered}")
        self._set_up(settings, faults)

    def _new_state(self, symbol: str) -> InstrumentState:
        name = venue_symbol(symbol)
        return InstrumentState(
            self.venue, symbol, name, levels=messages.LEVELS, depth=self._depth, digest=self._checksum
        )

    def subscribe(self) -> list[Send]:
        instruments = (
            [("instrument", "")] if self.instruments and not self.subscriptions.apart(("instrument", "")) else []
        )
        return [*self._ask("subscribe", instruments), *super().subscribe()]

    def _batches(self, items: Sequence[Item]) -> Iterable[Sequence[Item]]:
        for batch in super()._batches(items):
            if batch[0][0] != self.TRADES:
                yield batch
                continue
            # Trades before the subscription are requested once earlier ones were received: they fill the gap of a
            # reconnect.
            for known in (True, False):
                if group := [item for item in batch if self.instruments[item[1]].trades.started is known]:
                    yield group

    def _message(self, operation: Operation, items: Sequence[Item], number: int) -> str:
        channel = items[0][0]
        params: dict[str, object] = {"channel": channel}
        if items[0] == _REFERENCE:
            return _encode({"method": operation, "params": {**params, "snapshot": True}, "req_id": number})
        params["symbol"] = self._names(items)
        if channel == self.BOOK:
            params["depth"] = self._depth
        if operation == "subscribe":
            params["snapshot"] = channel == self.BOOK or self.instruments[items[0][1]].trades.started
        return _encode({"method": operation, "params": params, "req_id": number})

    def _handle(self, frame: bytes, received_time: int, outputs: Outputs) -> None:
        message = messages.decode_frame(frame)
        match message.channel:
            case "book":
                if message.type not in ("snapshot", "update"):
                    raise FrameRefused(self.venue, f"type is neither snapshot nor update: {message.type!r:.80}")
                self._is_snapshot = message.type == "snapshot"
                books = self._entries(messages.BOOKS, message.data, frame, received_time, outputs)
                self._apply_entries(books, self._book, BookRefused, frame, received_time, outputs)
            case "trade":
                trades = self._entries(messages.TRADES, message.data, frame, received_time, outputs)
                self._apply_entries(trades, self._trade, FrameRefused, frame, received_time, outputs)
            case "instrument":
                self.subscriptions.confirm([_REFERENCE])
                pairs = messages.decode_reference(message.data).pairs
                self._reference(self._entries(messages.PAIRS, pairs, frame, received_time, outputs))
            case None:
                self._answer(message, frame, outputs)
            case channel:
                self._ignore("channel", channel, messages.IGNORED, frame)

    def _book(
        self, state: InstrumentState, book: messages.KrakenBook, received_time: int, outputs: Outputs
    ) -> Doubt | None:
        take = state.book.snapshot if self._is_snapshot else state.book.delta
        return take(
            outputs,
            state.parser.levels("bids", book.bids),
            state.parser.levels("asks", book.asks),
            received_time=received_time,
            exchange_time=iso_nanoseconds(book.timestamp) if book.timestamp else 0,
            checksum=book.checksum,
        )

    def _checksum(self, stream: BookStream) -> int:
        """Return the CRC-32 over asks, then bids, best first: per level price and size without dot or leading zeros."""
        price_places, size_places = self._precisions.get(
            stream.instrument.symbol, (stream.price_decimals, stream.size_decimals)
        )
        price_shift = -stream.price_exponent - price_places
        size_shift = -stream.size_exponent - size_places
        text = _digits(stream.book.asks, price_shift, size_shift) + _digits(stream.book.bids, price_shift, size_shift)
        return crc32(text.encode())

    def _trade(self, state: InstrumentState, trade: messages.KrakenTrade, received_time: int, outputs: Outputs) -> None:
        missing = state.trades.trade(
            outputs,
            trade_id=trade.trade_id,
            side="BUY" if trade.side == "buy" else "SELL",
            price=messages.number_text(trade.price),
            size=messages.number_text(trade.qty),
            exchange_time=iso_nanoseconds(trade.timestamp),
            received_time=received_time,
        )
        if missing:
            self._trade_gap(state, missing, outputs)

    def _reference(self, pairs: Iterable[messages.KrakenPair]) -> None:
        for pair in pairs:
            state = self._find(pair.symbol)
            if state is not None:
                self._precisions[state.symbol] = (pair.price_precision, pair.qty_precision)
                state.book.instrument = Instrument(
                    self.venue, state.symbol, state.venue_symbol, -pair.price_precision, -pair.qty_precision
                )

    def _answer(self, message: messages.KrakenFrame, frame: bytes, outputs: Outputs) -> None:
        if message.error is not None:
            self._refused(message, f"{message.method or 'request'} refused: {message.error}"[:500], outputs)
        elif message.method is None:
            raise self._not_understood("neither channel nor method", frame)
        elif message.method == "subscribe" and bytes(message.result):
            result = messages.decode_result(message.result)
            state = self._find(result.symbol) if result.symbol else None
            if state is not None:
                self.subscriptions.confirm([(result.channel, state.symbol)])
            elif result.channel == _REFERENCE[0]:
                self.subscriptions.confirm([_REFERENCE])
            if result.channel == self.BOOK and state is not None:
                outputs.append(Note("subscribed", "INFO", "book subscribed", state.symbol))
        self.ignored[message.method or "error"] += 1

    def _refused(self, message: messages.KrakenFrame, text: str, outputs: Outputs) -> None:
        """Handle a refusal: of one symbol, in whatever channel the request named, or of a whole request."""
        state = self._find(message.symbol) if message.symbol else None
        if message.method == "unsubscribe":
            outputs.append(Note("unsubscription_refused", "WARNING", text, state.symbol if state else None))
            return
        named = [state.symbol] if state is not None else []
        number = message.req_id if message.req_id is not None else self.subscriptions.oldest("subscribe", named)
        request = self.subscriptions.request(number) if number is not None else None
        if message.symbol is None:
            self._refuse_message(number, text, outputs)
            return
        items = [item for item in request.items if item[1] in named] if request is not None else []
        if not items:
            outputs.append(Note("subscription_refused", "ERROR", text, named[0] if named else None))
        elif message.error == "Already subscribed":
            self.subscriptions.confirm(items)
        else:
            self._refuse_items(items, text, outputs)

    def _find(self, name: str) -> InstrumentState | None:
        state = super()._find(name)
        if state is not None:
            return state
        try:
            return self.instruments.get(canonical_symbol(name))
        except ValueRefused:
            return None

    def _about_book(self, frame: bytes) -> bool:
        return b'"book"' in frame and b'"data"' in frame


def _encode(request: dict[str, object]) -> str:
    return msgspec.json.encode(request).decode()


def _digits(side: BookSide, price_shift: int, size_shift: int) -> str:
    if price_shift >= 0 and size_shift >= 0:
        price_unit, size_unit = 10**price_shift, 10**size_shift
        parts = [f"{price // price_unit}{size // size_unit}" for price, size in side.top(CHECKSUM_LEVELS)]
    else:  # the venue's precision has more decimals than the values
        price_unit, size_unit = 10 ** max(price_shift, 0), 10 ** max(size_shift, 0)
        more_price, more_size = 10 ** max(-price_shift, 0), 10 ** max(-size_shift, 0)
        parts = [
            f"{price // price_unit * more_price}{size // size_unit * more_size}"
            for price, size in side.top(CHECKSUM_LEVELS)
        ]
    return "".join(parts)
