"""Kraken's WebSocket v2: book with checksum, trades, instrument.

Integrity: every book message carries the CRC-32 of the ten best levels of both sides
(https://docs.kraken.com/api/docs/guides/spot-ws-book-v2). A mismatch or a crossed book ends the epoch; the symbol is
unsubscribed and subscribed again, and updates are ignored until its new snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import msgspec

from alphapulse.book import BookSide
from alphapulse.config import VenueSettings
from alphapulse.errors import ConfigError, FrameRefused, ValueRefused
from alphapulse.instruments import Instrument
from producers.book_stream import BookStream
from producers.kraken import messages
from producers.kraken.symbols import canonical_symbol, venue_symbol
from producers.levels import LevelParser
from producers.outputs import Note, Outputs, Resubscribe, Send
from producers.protocol import InstrumentState, VenueProtocol, quoted, refused_book
from producers.tally import Tally
from producers.timestamps import iso_nanoseconds
from producers.trade_stream import TradeStream

DEPTHS = (10, 25, 100, 500, 1000)
CHECKSUM_LEVELS = 10
IGNORED_CHANNELS = frozenset({"heartbeat", "status", "ticker", "ohlc", "level3", "pong"})


class KrakenProtocol(VenueProtocol):
    """Kraken's books and trades for the symbols of ``settings``.

    Raises:
        ConfigError: a depth Kraken does not offer, or a symbol that is no pair.
    """

    def __init__(self, settings: VenueSettings, venue: str = "kraken") -> None:
        super().__init__(venue)
        self._depth = settings.depth if settings.depth is not None else DEPTHS[-1]
        faults = []
        if self._depth not in DEPTHS:
            offered = ", ".join(map(str, DEPTHS))
            faults.append(f"venues.{venue}.depth: {self._depth} is not offered; one of {offered}")
        self._by_venue_symbol: dict[str, InstrumentState] = {}
        self._parsers: dict[str, LevelParser] = {}
        self._precisions: dict[str, tuple[int, int]] = {}
        for symbol in settings.symbols:
            try:
                self._add(symbol, venue_symbol(symbol))
            except ValueRefused as error:
                faults.append(f"venues.{venue}.symbols: {error}")
        if faults:
            raise ConfigError(faults)

    def _add(self, symbol: str, name: str) -> None:
        tally = Tally()
        instrument = Instrument(self.venue, symbol, name)
        book = BookStream(instrument, tally, depth=self._depth, digest=self._checksum)
        state = InstrumentState(symbol, name, tally, book, TradeStream(instrument, tally))
        self.instruments[symbol] = self._by_venue_symbol[name] = state
        self._parsers[symbol] = LevelParser(messages.LEVELS)

    def path(self) -> str:
        return ""

    def subscribe(self) -> list[Send]:
        if not self.instruments:
            return []
        instruments = Send('{"method":"subscribe","params":{"channel":"instrument","snapshot":true}}')
        return [instruments, *self._requests(list(self.instruments.values()))]

    def add(self, symbols: Sequence[str]) -> list[Send]:
        names = [(symbol, venue_symbol(symbol)) for symbol in symbols]
        for symbol, name in names:
            self._add(symbol, name)
        return self._requests([self.instruments[symbol] for symbol in symbols])

    def _forget(self, state: InstrumentState) -> list[Send]:
        del self._by_venue_symbol[state.venue_symbol]
        params = f'{{"channel":"trade","symbol":{quoted([state.venue_symbol])}}}'
        trades = Send(f'{{"method":"unsubscribe","params":{params}}}')
        return [self._book_request("unsubscribe", [state.venue_symbol]), trades]

    def _requests(self, states: Sequence[InstrumentState]) -> list[Send]:
        # Trades before the subscription are asked for once there are earlier ones: they fill the hole of a reconnect.
        known = [state.venue_symbol for state in states if state.trades.started]
        fresh = [state.venue_symbol for state in states if not state.trades.started]
        sends = [self._book_request("subscribe", [state.venue_symbol for state in states])]
        for group, snapshot in ((known, "true"), (fresh, "false")):
            if group:
                params = f'{{"channel":"trade","symbol":{quoted(group)},"snapshot":{snapshot}}}'
                sends.append(Send(f'{{"method":"subscribe","params":{params}}}'))
        return sends

    def resubscribe(self, symbol: str) -> list[Send]:
        name = self.instruments[symbol].venue_symbol
        return [self._book_request("unsubscribe", [name]), self._book_request("subscribe", [name])]

    def _book_request(self, method: str, names: list[str]) -> Send:
        snapshot = ',"snapshot":true' if method == "subscribe" else ""
        params = f'{{"channel":"book","symbol":{quoted(names)},"depth":{self._depth}{snapshot}}}'
        return Send(f'{{"method":"{method}","params":{params}}}')

    def _handle(self, frame: bytes, received_time: int, outputs: Outputs) -> None:
        message: messages.Frame = self._decode(messages.decode_frame, frame)
        match message.channel:
            case "book":
                self._books(message, frame, received_time, outputs)
            case "trade":
                self._trades(message, frame, received_time, outputs)
            case "instrument":
                self._reference(message)
            case None:
                self._answer(message, frame, outputs)
            case channel if channel in IGNORED_CHANNELS:
                self.ignored[channel] += 1
            case channel:
                raise FrameRefused(self.venue, f"unknown channel {channel[:80]!r} in {frame[:200]!r}")

    def _books(self, message: messages.Frame, frame: bytes, received_time: int, outputs: Outputs) -> None:
        if message.type not in ("snapshot", "update"):
            raise FrameRefused(self.venue, f"type: neither snapshot nor update: {message.type!r:.80}")
        kept = False
        for book in self._decode(messages.decode_books, message.data):
            state = self._state(book.symbol)
            if state is None:
                continue
            try:
                self._book(state, message.type == "snapshot", book, received_time, outputs)
            except ValueRefused as error:
                # The frame's other books are none the worse for it.
                refused = refused_book(self.venue, state.symbol, error)
                self._refuse(refused, frame, received_time, outputs, kept=kept)
                kept = True

    def _book(
        self, state: InstrumentState, is_snapshot: bool, book: messages.Book, received_time: int, outputs: Outputs
    ) -> None:
        parser = self._parsers[state.symbol]
        take = state.book.snapshot if is_snapshot else state.book.delta
        doubt = take(
            outputs,
            parser.levels("bids", book.bids),
            parser.levels("asks", book.asks),
            received_time=received_time,
            exchange_time=iso_nanoseconds(book.timestamp) if book.timestamp else 0,
            checksum=book.checksum,
        )
        if doubt is not None:
            self._doubt(state, doubt, outputs)

    def _checksum(self, stream: BookStream) -> int:
        """Return the CRC-32 over asks, then bids, best first: per level price and size without dot or leading zeros."""
        price_places, size_places = self._precisions.get(
            stream.instrument.symbol, (stream.price_decimals, stream.size_decimals)
        )
        price_shift = -stream.price_exponent - price_places
        size_shift = -stream.size_exponent - size_places
        text = _digits(stream.book.asks, price_shift, size_shift) + _digits(stream.book.bids, price_shift, size_shift)
        return crc32(text.encode())

    def _trades(self, message: messages.Frame, frame: bytes, received_time: int, outputs: Outputs) -> None:
        kept = False
        for trade in self._decode(messages.decode_trades, message.data):
            state = self._state(trade.symbol)
            if state is None:
                continue
            try:
                missing = state.trades.trade(
                    outputs,
                    trade_id=trade.trade_id,
                    side="BUY" if trade.side == "buy" else "SELL",
                    price=messages.number_text(trade.price),
                    size=messages.number_text(trade.qty),
                    exchange_time=iso_nanoseconds(trade.timestamp),
                    received_time=received_time,
                )
            except ValueRefused as error:
                refused = FrameRefused(self.venue, str(error), symbol=state.symbol)
                self._refuse(refused, frame, received_time, outputs, kept=kept)
                kept = True
                continue
            if missing:
                self._trade_gap(state, missing, outputs)

    def _reference(self, message: messages.Frame) -> None:
        for pair in self._decode(messages.decode_reference, message.data).pairs:
            state = self._find(pair.symbol)
            if state is not None:
                self._precisions[state.symbol] = (pair.price_precision, pair.qty_precision)
                state.book.instrument = Instrument(
                    self.venue, state.symbol, state.venue_symbol, -pair.price_precision, -pair.qty_precision
                )

    def _answer(self, message: messages.Frame, frame: bytes, outputs: Outputs) -> None:
        if message.error is not None:
            text = f"{message.method or 'request'} refused: {message.error}"
            state = self._find(message.symbol) if message.symbol else None
            outputs.append(Note("subscription_refused", "ERROR", text[:500], state.symbol if state else None))
        elif message.method is None:
            raise FrameRefused(self.venue, f"neither channel nor method in {frame[:200]!r}")
        elif message.method == "subscribe" and bytes(message.result):
            result: messages.SubscribeResult = self._decode(messages.decode_result, message.result)
            state = self._find(result.symbol) if result.symbol else None
            if result.channel == "book" and state is not None:
                outputs.append(Note("subscribed", "INFO", "book subscribed", state.symbol))
        self.ignored[message.method or "error"] += 1

    def _find(self, name: str) -> InstrumentState | None:
        state = self._by_venue_symbol.get(name)
        if state is not None:
            return state
        try:
            return self.instruments.get(canonical_symbol(name))
        except ValueRefused:
            return None

    def _state(self, name: str) -> InstrumentState | None:
        state = self._by_venue_symbol.get(name) or self._find(name)
        if state is None:
            self.ignored["other_symbol"] += 1
        return state

    def _ask_again(self, symbol: str, outputs: Outputs) -> None:
        outputs.append(Resubscribe(symbol))

    def _suspects(self, frame: bytes) -> Sequence[str]:
        if b'"book"' not in frame or b'"data"' not in frame:
            return []
        return [s.symbol for name, s in self._by_venue_symbol.items() if msgspec.json.encode(name) in frame]


def _digits(side: BookSide, price_shift: int, size_shift: int) -> str:
    if price_shift >= 0 and size_shift >= 0:
        price_unit, size_unit = 10**price_shift, 10**size_shift
        parts = [f"{price // price_unit}{size // size_unit}" for price, size in side.top(CHECKSUM_LEVELS)]
    else:  # the venue states more decimals than the values need
        price_unit, size_unit = 10 ** max(price_shift, 0), 10 ** max(size_shift, 0)
        more_price, more_size = 10 ** max(-price_shift, 0), 10 ** max(-size_shift, 0)
        parts = [
            f"{price // price_unit * more_price}{size // size_unit * more_size}"
            for price, size in side.top(CHECKSUM_LEVELS)
        ]
    return "".join(parts)
