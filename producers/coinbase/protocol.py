"""Coinbase Exchange: ``level2_batch``, ``matches``, ``heartbeat``.

Integrity: book messages carry neither sequence nor checksum. What shows is a crossed book, and a jump in ``trade_id``,
which tells of lost matches only. So a doubt ends the epoch, and the product's book channel is subscribed again.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from alphapulse.config import VenueSettings
from alphapulse.errors import ConfigError, FrameRefused, ValueRefused
from alphapulse.instruments import Instrument
from producers.book_stream import BookStream
from producers.coinbase import messages
from producers.coinbase.symbols import venue_symbol
from producers.levels import PAIRS, LevelParser, TextLevels
from producers.outputs import Note, Outputs, Resubscribe, Send
from producers.protocol import InstrumentState, VenueProtocol, quoted, refused_book
from producers.tally import Tally
from producers.timestamps import iso_nanoseconds
from producers.trade_stream import TradeStream

_OTHER_KINDS = (b'"match"', b'"last_match"', b'"heartbeat"', b'"subscriptions"', b'"error"')


class CoinbaseProtocol(VenueProtocol):
    """Coinbase Exchange's books and trades for the symbols of ``settings``.

    Raises:
        ConfigError: a symbol that is no pair, or a depth (the channel offers no choice).
    """

    def __init__(self, settings: VenueSettings, venue: str = "coinbase") -> None:
        super().__init__(venue)
        faults = []
        if settings.depth is not None:
            faults.append(f"venues.{venue}.depth: the venue offers no choice, found {settings.depth}")
        self._parsers: dict[str, LevelParser] = {}
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
        state = InstrumentState(symbol, symbol, tally, BookStream(instrument, tally), TradeStream(instrument, tally))
        self.instruments[symbol] = state
        self._parsers[symbol] = LevelParser(PAIRS)

    def path(self) -> str:
        return ""

    def subscribe(self) -> list[Send]:
        return [self._request("subscribe", list(self.instruments))] if self.instruments else []

    def add(self, symbols: Sequence[str]) -> list[Send]:
        for symbol in [venue_symbol(symbol) for symbol in symbols]:
            self._add(symbol)
        return [self._request("subscribe", symbols)]

    def _forget(self, state: InstrumentState) -> list[Send]:
        return [self._request("unsubscribe", [state.symbol])]

    def _request(self, kind: str, symbols: Sequence[str]) -> Send:
        channels = quoted(["level2_batch", "matches", "heartbeat"])
        return Send(f'{{"type":"{kind}","product_ids":{quoted(symbols)},"channels":{channels}}}')

    def resubscribe(self, symbol: str) -> list[Send]:
        rest = f'"product_ids":{quoted([symbol])},"channels":["level2_batch"]}}'
        return [Send(f'{{"type":"unsubscribe",{rest}'), Send(f'{{"type":"subscribe",{rest}')]

    def _handle(self, frame: bytes, received_time: int, outputs: Outputs) -> None:
        try:
            message = messages.decode_message(frame)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            kind = self._kind(frame)
            if kind not in messages.IGNORED:
                raise FrameRefused(self.venue, f"{error} in {frame[:200]!r}") from error
            self.ignored[kind] += 1
            return
        match message:
            case messages.L2Update():
                self._update(message, received_time, outputs)
            case messages.Match():
                self._match(message, received_time, outputs)
            case messages.Snapshot():
                self._snapshot(message, received_time, outputs)
            case messages.Heartbeat():
                self.ignored["heartbeat"] += 1
            case messages.Subscriptions():
                self.ignored["subscriptions"] += 1
                outputs.append(Note("subscribed", "INFO", "subscriptions confirmed"))
            case messages.Error():
                self.ignored["error"] += 1
                text = f"{message.message}: {message.reason}"[:500]
                outputs.append(Note("subscription_refused", "ERROR", text))

    def _kind(self, frame: bytes) -> str:
        kind: str = self._decode(messages.decode_type, frame).type
        return kind

    def _snapshot(self, message: messages.Snapshot, received_time: int, outputs: Outputs) -> None:
        state = self._state(message.product_id)
        if state is None:
            return
        parser = self._parsers[state.symbol]
        try:
            doubt = state.book.snapshot(
                outputs,
                parser.levels("bids", message.bids),
                parser.levels("asks", message.asks),
                received_time=received_time,
                exchange_time=iso_nanoseconds(message.time) if message.time else 0,
            )
        except ValueRefused as error:
            raise refused_book(self.venue, state.symbol, error) from error
        if doubt is not None:
            self._doubt(state, doubt, outputs)

    def _update(self, message: messages.L2Update, received_time: int, outputs: Outputs) -> None:
        state = self._state(message.product_id)
        if state is None:
            return
        bids, asks = ([], []), ([], [])  # type: tuple[list[str], list[str]], tuple[list[str], list[str]]
        for side, price, size in message.changes:
            prices, sizes = bids if side == "buy" else asks
            prices.append(price)
            sizes.append(size)
        try:
            doubt = state.book.delta(
                outputs,
                TextLevels("buy", *bids),
                TextLevels("sell", *asks),
                received_time=received_time,
                exchange_time=iso_nanoseconds(message.time) if message.time else 0,
            )
        except ValueRefused as error:
            raise refused_book(self.venue, state.symbol, error) from error
        if doubt is not None:
            self._doubt(state, doubt, outputs)

    def _match(self, message: messages.Match, received_time: int, outputs: Outputs) -> None:
        state = self._state(message.product_id)
        if state is None:
            return
        try:
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
        except ValueRefused as error:
            raise FrameRefused(self.venue, str(error), symbol=state.symbol) from error
        if missing:
            # The only sequence this feed has: its jumps are the feed's gaps.
            state.tally.gaps += 1
            self._trade_gap(state, missing, outputs)

    def _state(self, product_id: str) -> InstrumentState | None:
        state = self.instruments.get(product_id)
        if state is None:
            self.ignored["other_symbol"] += 1
        return state

    def _ask_again(self, symbol: str, outputs: Outputs) -> None:
        outputs.append(Resubscribe(symbol))

    def _suspects(self, frame: bytes) -> Sequence[str]:
        # No later frame would show that this one is missing: what may be about a book puts it in doubt.
        if any(kind in frame for kind in _OTHER_KINDS):
            return []
        try:
            msgspec.json.decode(frame, type=msgspec.Raw)
        except (msgspec.DecodeError, RecursionError):
            named = [symbol for symbol in self.instruments if f'"{symbol}"'.encode() in frame]
            return named or list(self.instruments)
        return super()._suspects(frame)

    def _suspect(self, frame: bytes) -> str | None:
        if b'"l2update"' not in frame and b'"snapshot"' not in frame:
            return None
        return next((symbol for symbol in self.instruments if f'"{symbol}"'.encode() in frame), None)
