"""Coinbase Exchange: ``level2_batch``, ``matches``, ``heartbeat``.

Integrity: book messages carry neither sequence nor checksum. What shows is a crossed book, and a jump in ``trade_id``,
which tells of lost matches only; where no later match does, heartbeats tell (:mod:`producers.coinbase.heartbeats`). So
a doubt ends the epoch, and the product's book channel is subscribed again.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from alphapulse.config import VenueSettings
from alphapulse.errors import FrameRefused
from producers.book_stream import Doubt
from producers.coinbase import messages
from producers.coinbase.heartbeats import Heartbeats
from producers.coinbase.symbols import venue_symbol
from producers.entries import UNREADABLE
from producers.levels import TextLevels
from producers.outputs import Note, Outputs, Send
from producers.protocol import BookRefused, Operation, VenueProtocol, quoted
from producers.roster import InstrumentState
from producers.timestamps import iso_nanoseconds

_OTHER_KINDS = (b'"match"', b'"last_match"', b'"heartbeat"', b'"subscriptions"', b'"error"')


class CoinbaseProtocol(VenueProtocol):
    """Coinbase Exchange's books and trades for the symbols of ``settings``.

    Raises:
        ConfigError: a symbol that is no pair, or a depth (the channel offers no choice).
    """

    def __init__(self, settings: VenueSettings, venue: str = "coinbase") -> None:
        super().__init__(venue)
        self._heartbeats: dict[str, Heartbeats] = {}
        self._without_trades: set[str] = set()
        faults = []
        if settings.depth is not None:
            faults.append(f"venues.{venue}.depth: the venue offers no choice, found {settings.depth}")
        self._set_up(settings, faults)

    def _new_state(self, symbol: str) -> InstrumentState:
        return InstrumentState(self.venue, symbol, venue_symbol(symbol))

    def _let_go(self, state: InstrumentState) -> None:
        super()._let_go(state)
        self._heartbeats.pop(state.symbol, None)
        self._without_trades.discard(state.symbol)

    def disconnected(self, received_time: int) -> Outputs:
        self._heartbeats.clear()
        self._without_trades.clear()
        return super().disconnected(received_time)

    def _requests(self, operation: Operation, states: Sequence[InstrumentState]) -> list[Send]:
        return [_request(operation, [state.symbol for state in states], ["level2_batch", "matches", "heartbeat"])]

    def resubscribe(self, symbol: str) -> list[Send]:
        return [_request("unsubscribe", [symbol], ["level2_batch"]), _request("subscribe", [symbol], ["level2_batch"])]

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
            case messages.L2Update():
                self._one(message, self._update, BookRefused, frame, received_time, outputs)
            case messages.Match():
                self._one(message, self._trade, FrameRefused, frame, received_time, outputs)
            case messages.Snapshot():
                self._one(message, self._snapshot, BookRefused, frame, received_time, outputs)
            case messages.Heartbeat():
                self.ignored["heartbeat"] += 1
                if message.symbol in self._by_venue_symbol:
                    self._heartbeat(self._by_venue_symbol[message.symbol], message, outputs)
            case messages.Subscriptions():
                self.ignored["subscriptions"] += 1
                outputs.append(Note("subscribed", "INFO", "subscriptions confirmed"))
            case messages.Error():
                self.ignored["error"] += 1
                text = f"{message.message}: {message.reason}"[:500]
                outputs.append(Note("subscription_refused", "ERROR", text))

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
        self, state: InstrumentState, message: messages.L2Update, received_time: int, outputs: Outputs
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
            # It may be the channel that is lost: subscribed to once more, it repeats the last match. Where it is not,
            # that does nothing.
            self._without_trades.add(state.symbol)
            outputs.append(_request("subscribe", [state.symbol], ["matches"]))

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
            # The only sequence this feed has: its jumps are the feed's gaps.
            state.tally.gaps += 1
            self._trade_gap(state, missing, outputs)

    def _about_book(self, frame: bytes) -> bool:
        return b'"l2update"' in frame or b'"snapshot"' in frame

    def _suspects(self, frame: bytes, part: bytes) -> Sequence[str]:
        # No later frame would show that this one is missing: what may be about a book puts it in doubt.
        if any(kind in frame for kind in _OTHER_KINDS):
            return []
        try:
            msgspec.json.decode(frame, type=msgspec.Raw)
        except UNREADABLE:
            return self._named(frame) or list(self.instruments)
        return super()._suspects(frame, part)


def _request(operation: Operation, symbols: Sequence[str], channels: Sequence[str]) -> Send:
    return Send(f'{{"type":"{operation}","product_ids":{quoted(symbols)},"channels":{quoted(channels)}}}')
