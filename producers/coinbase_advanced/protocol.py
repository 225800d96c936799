"""Coinbase Advanced Trade: ``level2``, ``market_trades``, ``heartbeats``.

Integrity: ``sequence_num`` rises by one with every message of the connection, whatever its channel, from 0. A jump says
that something was lost but not what: every book's epoch ends and every book is subscribed again. A message that comes
late or twice is told by its number; late trades are still taken, for their ids say whether they were seen.
https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-overview#sequence-numbers
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from alphapulse.config import VenueSettings
from alphapulse.errors import ConfigError, FrameRefused, ValueRefused
from alphapulse.instruments import Instrument
from producers.book_stream import BookStream, Doubt
from producers.coinbase_advanced import messages
from producers.coinbase_advanced.symbols import sent_as, venue_symbol
from producers.levels import TextLevels
from producers.outputs import Note, Outputs, Resubscribe, Send
from producers.protocol import InstrumentState, VenueProtocol, quoted, refused_book
from producers.tally import Tally
from producers.timestamps import iso_nanoseconds
from producers.trade_stream import TradeStream

_CHANNELS: Final = ("level2", "market_trades")
_OTHER_CHANNELS: Final = tuple(
    f'"{name}"'.encode() for name in ("market_trades", "subscriptions", "error", *sorted(messages.IGNORED))
)


class CoinbaseAdvancedProtocol(VenueProtocol):
    """Coinbase Advanced Trade's books and trades for the symbols of ``settings``.

    Raises:
        ConfigError: a symbol that is no pair, two symbols of one book (``BTC-USD`` and ``BTC-USDC``), or a depth (the
            channel offers no choice).
    """

    def __init__(self, settings: VenueSettings, venue: str = "coinbase_advanced") -> None:
        super().__init__(venue)
        faults = []
        if settings.depth is not None:
            faults.append(f"venues.{venue}.depth: the venue offers no choice, found {settings.depth}")
        self._by_product: dict[str, InstrumentState] = {}
        self._next = 0
        for symbol in settings.symbols:
            try:
                self._add(venue_symbol(symbol))
            except ValueRefused as error:
                faults.append(f"venues.{venue}.symbols: {error}")
        if faults:
            raise ConfigError(faults)

    def _add(self, symbol: str) -> None:
        product = sent_as(symbol)
        other = self._by_product.get(product)
        if other is not None and other.symbol != symbol:
            raise ValueRefused(f"{symbol!r} is the same book as {other.symbol!r} at this venue: name one of them")
        tally = Tally()
        instrument = Instrument(self.venue, symbol, product)
        state = InstrumentState(symbol, symbol, tally, BookStream(instrument, tally), TradeStream(instrument, tally))
        self.instruments[symbol] = self._by_product[symbol] = self._by_product[product] = state

    def add(self, symbols: Sequence[str]) -> list[Send]:
        names = [venue_symbol(symbol) for symbol in symbols]
        books = {self._by_product[name].symbol: name for name in map(sent_as, names) if name in self._by_product}
        if books or len(set(map(sent_as, names))) < len(names):
            raise ValueRefused(f"of {', '.join(names)} some are one book, or that of {', '.join(books) or 'another'}")
        for name in names:
            self._add(name)
        return [_request("subscribe", channel, names) for channel in _CHANNELS]

    def _forget(self, state: InstrumentState) -> list[Send]:
        for name in {state.symbol, sent_as(state.symbol)}:
            del self._by_product[name]
        return [_request("unsubscribe", channel, [state.symbol]) for channel in _CHANNELS]

    def path(self) -> str:
        return ""

    def subscribe(self) -> list[Send]:
        if not self.instruments:
            return []
        # One channel a message; without heartbeats quiet channels are closed after a minute or so.
        sends = [Send('{"type":"subscribe","channel":"heartbeats"}')]
        return sends + [_request("subscribe", channel, self.instruments) for channel in _CHANNELS]

    def resubscribe(self, symbol: str) -> list[Send]:
        return [_request(kind, "level2", [symbol]) for kind in ("unsubscribe", "subscribe")]

    def disconnected(self, received_time: int) -> Outputs:
        self._next = 0
        return super().disconnected(received_time)

    def _handle(self, frame: bytes, received_time: int, outputs: Outputs) -> None:
        try:
            message: messages.Frame = self._decode(messages.decode_frame, frame)
        except FrameRefused:
            # What it may have been about is in doubt by itself: that it is missing need not put all in doubt.
            if messages.number_of_broken(frame) == self._next:
                self._next += 1
            raise
        if message.type == "error":
            self.ignored["error"] += 1
            outputs.append(Note("subscription_refused", "ERROR", f"request refused: {message.message[:450]}"))
            return
        if message.channel is None or message.sequence_num is None:
            raise FrameRefused(self.venue, f"neither channel and sequence_num nor error in {frame[:200]!r}")
        late = message.sequence_num < self._next
        if not late:
            if message.sequence_num > self._next:
                self._gap(message.sequence_num, received_time, outputs)
            self._next = message.sequence_num + 1
        match message.channel:
            case "l2_data" if late:
                self.ignored["late"] += 1
            case "l2_data":
                self._books(message, received_time, outputs)
            case "market_trades":
                self._trades(message, received_time, outputs)
            case "subscriptions":
                self.ignored["subscriptions"] += 1
                outputs.append(Note("subscribed", "INFO", "subscriptions confirmed"))
            case channel if channel in messages.IGNORED:
                self.ignored[channel] += 1
            case channel:
                raise FrameRefused(self.venue, f"unknown channel {channel[:80]!r} in {frame[:200]!r}")

    def _gap(self, found: int, received_time: int, outputs: Outputs) -> None:
        missing = f"messages {self._next} to {found - 1} of the connection are missing"
        for state in self.instruments.values():
            if state.book.valid:
                state.tally.gaps += 1
                state.book.end(outputs, received_time)
                self._doubt(state, Doubt("sequence", missing), outputs)
            else:  # the snapshot waited for may be what was lost
                self._ask_again(state.symbol, outputs)

    def _books(self, message: messages.Frame, received_time: int, outputs: Outputs) -> None:
        refused: FrameRefused | None = None
        for event in self._decode(messages.decode_book, message.events):
            state = self._state(event.product_id)
            if state is None:
                continue
            try:
                self._book(state, event, message.timestamp, received_time, outputs)
            except ValueRefused as error:
                if refused is None:
                    refused = refused_book(self.venue, state.symbol, error)
                else:  # one refusal per frame; this book is in doubt all the same
                    state.book.end(outputs, received_time)
                    self._resync(state.symbol, Doubt("refused", str(error)), outputs)
        if refused is not None:
            raise refused

    def _book(
        self, state: InstrumentState, event: messages.BookEvent, time: str, received_time: int, outputs: Outputs
    ) -> None:
        bids, asks = ([], []), ([], [])  # type: tuple[list[str], list[str]], tuple[list[str], list[str]]
        for update in event.updates:
            prices, sizes = bids if update.side == "bid" else asks
            prices.append(update.price_level)
            sizes.append(update.new_quantity)
        take = state.book.snapshot if event.type == "snapshot" else state.book.delta
        doubt = take(
            outputs,
            TextLevels("bid", *bids),
            TextLevels("offer", *asks),
            received_time=received_time,
            exchange_time=iso_nanoseconds(time) if time else 0,
            exchange_sequence=self._next - 1,
        )
        if doubt is not None:
            self._doubt(state, doubt, outputs)

    def _trades(self, message: messages.Frame, received_time: int, outputs: Outputs) -> None:
        for event in self._decode(messages.decode_trades, message.events):
            for trade in sorted(event.trades, key=lambda trade: int(trade.trade_id)):
                state = self._state(trade.product_id)
                if state is None:
                    continue
                try:
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
                except ValueRefused as error:
                    raise FrameRefused(self.venue, str(error), symbol=state.symbol) from error
                if missing:
                    self._trade_gap(state, missing, outputs)

    def _state(self, product: str) -> InstrumentState | None:
        state = self._by_product.get(product)
        if state is None:
            self.ignored["other_symbol"] += 1
        return state

    def _ask_again(self, symbol: str, outputs: Outputs) -> None:
        outputs.append(Resubscribe(symbol))

    def _suspects(self, frame: bytes) -> Sequence[str]:
        # A frame says its channel first; one that is cut off may have been about more books than it still names.
        if any(channel in frame for channel in _OTHER_CHANNELS) or messages.channel_of(frame) not in (None, "l2_data"):
            return []
        if frame.rstrip().endswith(b"]}]}"):
            named = {state.symbol for name, state in self._by_product.items() if f'"{name}"'.encode() in frame}
            if 0 < len(named) == frame.count(b'"product_id"'):
                return sorted(named)
        return list(self.instruments)


def _request(kind: str, channel: str, products: Iterable[str]) -> Send:
    return Send(f'{{"type":"{kind}","product_ids":{quoted(products)},"channel":"{channel}"}}')
