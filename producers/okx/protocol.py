"""OKX's WebSocket v5: ``books`` (400 levels), ``trades``.

Integrity: each book message names its own ``seqId`` and that of the message before it, ``prevSeqId``; a snapshot has -1
there. A message whose ``prevSeqId`` is not the last ``seqId`` shows a loss, whatever the numbers are: after
maintenance they may start again lower. A message that repeats its number and has no levels says that nothing changed.
https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel

The ``checksum`` that messages still carry is 0 since 23 June 2026 and is not looked at:
https://www.okx.com/help/okx-order-book-channels-checksum-field-deprecation
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from alphapulse.config import VenueSettings
from alphapulse.errors import ConfigError, FrameRefused, ValueRefused
from alphapulse.instruments import Instrument
from producers.book_stream import BookStream, Doubt
from producers.levels import PAIRS, LevelParser
from producers.okx import messages
from producers.okx.symbols import venue_symbol
from producers.outputs import Note, Outputs, Reconnect, Resubscribe, Send
from producers.protocol import InstrumentState, VenueProtocol, refused_book
from producers.tally import Tally
from producers.timestamps import ms_nanoseconds
from producers.trade_stream import TradeStream

DEPTH: Final = 400
"""Levels a side of the ``books`` channel."""
_ARGUMENTS: Final = 200
"""Of one request; its text may be 64 KB long."""
_CHANNELS: Final = ("books", "trades")


class OkxProtocol(VenueProtocol):
    """OKX's books and trades for the symbols of ``settings``.

    Raises:
        ConfigError: another depth than 400, or a symbol that is no spot pair.
    """

    def __init__(self, settings: VenueSettings, venue: str = "okx") -> None:
        super().__init__(venue)
        faults = []
        if settings.depth not in (None, DEPTH):
            faults.append(f"venues.{venue}.depth: {settings.depth} is not offered; {DEPTH} or none")
        self._parsers: dict[str, LevelParser] = {}
        self._last: dict[str, int] = {}
        self._last_trade: dict[str, int] = {}
        for symbol in settings.symbols:
            try:
                self._add(venue_symbol(symbol))
            except ValueRefused as error:
                faults.append(f"venues.{venue}.symbols: {error}")
        if faults:
            raise ConfigError(faults)

    def _add(self, symbol: str) -> None:
        tally = Tally()
        instrument = Instrument(self.venue, symbol, symbol)
        book = BookStream(instrument, tally, depth=DEPTH)
        # A message stands for ``count`` trades, of whose ids it names the last: gaps are counted here.
        trades = TradeStream(instrument, tally, consecutive=False)
        self.instruments[symbol] = InstrumentState(symbol, symbol, tally, book, trades)
        self._parsers[symbol] = LevelParser(PAIRS)

    def add(self, symbols: Sequence[str]) -> list[Send]:
        for symbol in [venue_symbol(symbol) for symbol in symbols]:
            self._add(symbol)
        return _requests("subscribe", symbols)

    def _forget(self, state: InstrumentState) -> list[Send]:
        del self._parsers[state.symbol]
        self._last.pop(state.symbol, None)
        self._last_trade.pop(state.symbol, None)
        return _requests("unsubscribe", [state.symbol])

    def path(self) -> str:
        return ""

    def subscribe(self) -> list[Send]:
        return _requests("subscribe", list(self.instruments))

    def resubscribe(self, symbol: str) -> list[Send]:
        return [_request(operation, [("books", symbol)]) for operation in ("unsubscribe", "subscribe")]

    def _handle(self, frame: bytes, received_time: int, outputs: Outputs) -> None:
        if frame == messages.PONG:
            self.ignored["pong"] += 1
            return
        message: messages.Frame = self._decode(messages.decode_frame, frame)
        if message.event is not None:
            self._event(message, frame, outputs)
            return
        if message.arg is None:
            raise FrameRefused(self.venue, f"neither event nor arg in {frame[:200]!r}")
        match message.arg.channel:
            case "books":
                self._books(message, message.arg.inst_id, received_time, outputs)
            case "trades":
                self._trades(message, received_time, outputs)
            case channel if channel in messages.IGNORED:
                self.ignored[channel] += 1
            case channel:
                raise FrameRefused(self.venue, f"unknown channel {channel[:80]!r} in {frame[:200]!r}")

    def _books(self, message: messages.Frame, name: str, received_time: int, outputs: Outputs) -> None:
        state = self._state(name)
        if state is None:
            return
        if message.action not in ("snapshot", "update"):
            raise FrameRefused(self.venue, f"action: neither snapshot nor update: {message.action!r:.80}")
        for book in self._decode(messages.decode_books, message.data):
            try:
                if message.action == "snapshot":
                    self._snapshot(state, book, received_time, outputs)
                else:
                    self._update(state, book, received_time, outputs)
            except ValueRefused as error:
                raise refused_book(self.venue, state.symbol, error) from error

    def _snapshot(self, state: InstrumentState, book: messages.Book, received_time: int, outputs: Outputs) -> None:
        parser = self._parsers[state.symbol]
        doubt = state.book.snapshot(
            outputs,
            parser.levels("bids", messages.pairs(book.bids)),
            parser.levels("asks", messages.pairs(book.asks)),
            received_time=received_time,
            exchange_time=ms_nanoseconds(int(book.ts)),
            exchange_sequence=book.seq_id,
        )
        self._last[state.symbol] = book.seq_id
        if doubt is not None:
            self._doubt(state, doubt, outputs)

    def _update(self, state: InstrumentState, book: messages.Book, received_time: int, outputs: Outputs) -> None:
        if not state.book.valid:
            state.tally.ignored += 1
            return
        last = self._last[state.symbol]
        if book.prev_seq_id != last:
            if book.seq_id == last:  # the last message again
                state.tally.ignored += 1
                return
            state.tally.gaps += 1
            state.book.end(outputs, received_time)
            missing = f"message {book.seq_id} follows {book.prev_seq_id}, the last one was {last}"
            self._doubt(state, Doubt("sequence", missing), outputs)
            return
        self._last[state.symbol] = book.seq_id
        bids, asks = messages.pairs(book.bids), messages.pairs(book.asks)
        if bytes(bids) == bytes(asks) == b"[]":
            self.ignored["unchanged"] += 1
            return
        parser = self._parsers[state.symbol]
        doubt = state.book.delta(
            outputs,
            parser.levels("bids", bids),
            parser.levels("asks", asks),
            received_time=received_time,
            exchange_time=ms_nanoseconds(int(book.ts)),
            exchange_sequence=book.seq_id,
        )
        if doubt is not None:
            self._doubt(state, doubt, outputs)

    def _trades(self, message: messages.Frame, received_time: int, outputs: Outputs) -> None:
        for trade in self._decode(messages.decode_trades, message.data):
            state = self._state(trade.inst_id)
            if state is None:
                continue
            try:
                state.trades.trade(
                    outputs,
                    trade_id=int(trade.trade_id),
                    side="BUY" if trade.side == "buy" else "SELL",
                    price=trade.px,
                    size=trade.sz,
                    exchange_time=ms_nanoseconds(int(trade.ts)),
                    received_time=received_time,
                )
            except ValueRefused as error:
                raise FrameRefused(self.venue, str(error), symbol=state.symbol) from error
            number, last = int(trade.trade_id), self._last_trade.get(state.symbol)
            if last is not None and (missing := number - int(trade.count) - last) > 0:
                self._trade_gap(state, missing, outputs)
            self._last_trade[state.symbol] = max(number, last or 0)

    def _event(self, message: messages.Frame, frame: bytes, outputs: Outputs) -> None:
        event = str(message.event)
        state = self.instruments.get(message.arg.inst_id) if message.arg is not None else None
        symbol = state.symbol if state is not None else None
        text = f"{message.code} {message.msg}".strip()[:500]
        match event:
            case "subscribe":
                if message.arg is not None and message.arg.channel == "books":
                    outputs.append(Note("subscribed", "INFO", "book subscribed", symbol))
            case "error":
                outputs.append(Note("subscription_refused", "ERROR", f"request refused: {text}", symbol))
            case "channel-conn-count-error":
                outputs.append(Note("subscription_refused", "ERROR", "too many connections to a channel", symbol))
            case "notice":
                outputs.append(Reconnect(f"the venue announces: {text}"))
            case "unsubscribe" | "channel-conn-count":
                pass
            case _:
                raise FrameRefused(self.venue, f"unknown event {event[:80]!r} in {frame[:200]!r}")
        self.ignored[event] += 1

    def _state(self, name: str) -> InstrumentState | None:
        state = self.instruments.get(name)
        if state is None:
            self.ignored["other_symbol"] += 1
        return state

    def _ask_again(self, symbol: str, outputs: Outputs) -> None:
        outputs.append(Resubscribe(symbol))

    def _suspect(self, frame: bytes) -> str | None:
        if b'"books"' not in frame or b'"data"' not in frame:
            return None
        return next((symbol for symbol in self.instruments if f'"{symbol}"'.encode() in frame), None)


def _requests(operation: str, symbols: Sequence[str]) -> list[Send]:
    wanted = [(channel, symbol) for channel in _CHANNELS for symbol in symbols]
    return [_request(operation, wanted[at : at + _ARGUMENTS]) for at in range(0, len(wanted), _ARGUMENTS)]


def _request(operation: str, wanted: list[tuple[str, str]]) -> Send:
    arguments = ",".join(f'{{"channel":"{channel}","instId":"{symbol}"}}' for channel, symbol in wanted)
    return Send(f'{{"op":"{operation}","args":[{arguments}]}}')
