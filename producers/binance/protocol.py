"""Binance's combined streams: diff depth joined to REST snapshots, trades or aggregate trades.

Integrity: each diff covers the update ids ``U`` to ``u`` without a hole to the one before (see
:mod:`producers.binance.synchronizer`). A gap ends the epoch of that symbol only; its diffs are kept and a new snapshot
is fetched. Levels beyond the snapshot's depth are unknown until a diff names them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from alphapulse.config import VenueSettings
from alphapulse.errors import ConfigError, FrameRefused, ValueRefused
from alphapulse.instruments import Instrument
from producers.binance import messages, streams
from producers.binance.symbols import venue_symbol
from producers.binance.synchronizer import MOST_KEPT, Kept, Step, Synchronizer
from producers.book_stream import BookStream, Doubt
from producers.levels import PAIRS, LevelParser
from producers.outputs import FetchSnapshot, Note, Outputs, Reconnect, Refused, Send
from producers.protocol import InstrumentState, VenueProtocol, refused_book
from producers.tally import Tally
from producers.timestamps import ms_nanoseconds
from producers.trade_stream import TradeStream

MOST_DEPTH = 5000
MOST_WAITING = 100_000
"""Diffs kept for snapshots, of all symbols together: many symbols wait long where REST requests are rationed."""
LEAST_KEPT = 200
"""Of one symbol: longer than any answer takes."""
_DIFFS = frozenset({"depth", "depth@100ms", "depth@1000ms"})


class BinanceProtocol(VenueProtocol):
    """Binance's books and trades for the symbols of ``settings``; ``settings.depth`` is the snapshots' (default 5000).

    Raises:
        ConfigError: a depth beyond what Binance offers, or a symbol that is no pair.
    """

    def __init__(self, settings: VenueSettings, venue: str = "binance") -> None:
        super().__init__(venue)
        faults = []
        self._depth = settings.depth if settings.depth is not None else MOST_DEPTH
        if self._depth > MOST_DEPTH:
            faults.append(f"venues.{venue}.depth: {self._depth} is not offered; at most {MOST_DEPTH}")
        self._by_venue_symbol: dict[str, InstrumentState] = {}
        self._parsers: dict[str, LevelParser] = {}
        self._sync: dict[str, Synchronizer] = {}
        self._trade_kind: dict[str, str] = {}
        self._requests = 0
        self._waiting = 0
        for symbol in settings.symbols:
            try:
                self._add(symbol, venue_symbol(symbol))
            except ValueRefused as error:
                faults.append(f"venues.{venue}.symbols: {error}")
        if faults:
            raise ConfigError(faults)
        self._handlers: dict[str, Callable[[Any, bytes, int, Outputs], None]] = {
            **dict.fromkeys((*_DIFFS, "depthUpdate"), self._depth_update),
            "trade": self._trade,
            "aggTrade": self._aggregate,
            "serverShutdown": self._server_shutdown,
        }

    def _add(self, symbol: str, name: str) -> None:
        tally = Tally()
        instrument = Instrument(self.venue, symbol, name)
        state = InstrumentState(symbol, name, tally, BookStream(instrument, tally), TradeStream(instrument, tally))
        self.instruments[symbol] = self._by_venue_symbol[name] = state
        self._parsers[symbol] = LevelParser(PAIRS)
        self._sync[symbol] = Synchronizer()

    @property
    def waiting(self) -> int:
        return self._waiting

    def path(self) -> str:
        return streams.address(list(self._by_venue_symbol))

    def subscribe(self) -> list[Send]:
        return streams.rest(list(self._by_venue_symbol))

    def add(self, symbols: Sequence[str]) -> list[Send]:
        names = [(symbol, venue_symbol(symbol)) for symbol in symbols]
        for symbol, name in names:
            self._add(symbol, name)
        return [streams.request("SUBSCRIBE", [name for _, name in names], self._next_number())]

    def _forget(self, state: InstrumentState) -> list[Send]:
        self._waiting -= self._sync.pop(state.symbol).reset()
        del self._by_venue_symbol[state.venue_symbol]
        return [streams.request("UNSUBSCRIBE", [state.venue_symbol], self._next_number())]

    def revive(self, symbol: str, received_time: int, seconds: float) -> Outputs:
        outputs = super().revive(symbol, received_time, seconds)
        name = self.instruments[symbol].venue_symbol
        outputs.append(streams.request("UNSUBSCRIBE", [name], self._next_number()))
        outputs.append(streams.request("SUBSCRIBE", [name], self._next_number()))
        # A quiet market may send no diff for long; the snapshot is right without one.
        outputs.append(self._request(symbol))
        return outputs

    def resubscribe(self, symbol: str) -> list[FetchSnapshot]:
        return [self._request(symbol)]

    def disconnected(self, received_time: int) -> Outputs:
        for symbol, sync in self._sync.items():
            self._drop(symbol, sync)
        return super().disconnected(received_time)

    def _handle(self, frame: bytes, received_time: int, outputs: Outputs) -> None:
        message: messages.Frame = self._decode(messages.decode_frame, frame)
        data: bytes | msgspec.Raw
        if message.stream is not None:
            kind, data = message.stream.partition("@")[2], message.data
        elif message.e is not None:
            kind, data = message.e, frame
        else:
            self._other(message, frame, outputs)
            return
        handler = self._handlers.get(kind)
        if handler is not None:
            handler(data, frame, received_time, outputs)
            return
        name = kind.partition("@")[0]
        known = name if name in messages.IGNORED else name.partition("_")[0]
        if known not in messages.IGNORED:
            raise FrameRefused(self.venue, f"unknown stream or event {kind[:80]!r} in {frame[:200]!r}")
        self.ignored[known] += 1

    def _other(self, message: messages.Frame, frame: bytes, outputs: Outputs) -> None:
        if message.A is not None and message.B is not None:
            self.ignored["bookTicker"] += 1
        elif message.error is not msgspec.UNSET:
            self.ignored["error"] += 1
            outputs.append(Note("subscription_refused", "ERROR", f"request refused: {message.error!r:.400}"))
        elif message.result is not msgspec.UNSET and message.id is not msgspec.UNSET:
            self.ignored["result"] += 1
        else:
            raise FrameRefused(self.venue, f"neither stream nor event nor answer: {frame[:200]!r}")

    def _server_shutdown(self, data: Any, frame: bytes, received_time: int, outputs: Outputs) -> None:
        self.ignored["serverShutdown"] += 1
        outputs.append(Reconnect("serverShutdown announced"))

    def _depth_update(self, data: Any, frame: bytes, received_time: int, outputs: Outputs) -> None:
        update: messages.DepthUpdate = self._decode(messages.decode_depth, data)
        state = self._state(update.s)
        if state is None:
            return
        sync = self._sync[state.symbol]
        if sync.live:
            self._follow(state, sync, Kept(update, frame, received_time), outputs)
        else:
            self._keep(state, sync, Kept(update, frame, received_time), outputs)

    def _keep(self, state: InstrumentState, sync: Synchronizer, kept: Kept, outputs: Outputs) -> None:
        most = min(MOST_KEPT, max(LEAST_KEPT, MOST_WAITING // len(self.instruments)))
        dropped = sync.keep(kept, most)
        self._waiting += 1 - dropped
        state.tally.ignored += dropped
        if not sync.request:
            outputs.append(self._request(state.symbol))

    def _follow(self, state: InstrumentState, sync: Synchronizer, kept: Kept, outputs: Outputs) -> None:
        update, last = kept.update, sync.last
        match sync.follow(update):
            case Step.OLD:
                state.tally.ignored += 1
            case Step.NEXT:
                self._delta(state, update, kept.received_time, outputs)
            case Step.GAP:
                state.tally.gaps += 1
                state.book.end(outputs, kept.received_time)
                self._drop(state.symbol, sync)
                missing = f"update ids {last + 1} to {update.U - 1} are missing"
                self._doubt(state, Doubt("sequence", missing), outputs)
                self._keep(state, sync, kept, outputs)

    def _delta(
        self, state: InstrumentState, update: messages.DepthUpdate, received_time: int, outputs: Outputs
    ) -> None:
        parser = self._parsers[state.symbol]
        try:
            doubt = state.book.delta(
                outputs,
                parser.levels("b", update.b),
                parser.levels("a", update.a),
                received_time=received_time,
                exchange_time=ms_nanoseconds(update.E),
                exchange_sequence=update.u,
            )
        except ValueRefused as error:
            raise refused_book(self.venue, state.symbol, error) from error
        if doubt is not None:
            self._doubt(state, doubt, outputs)

    def snapshot(self, request: FetchSnapshot, body: bytes, received_time: int) -> Outputs:
        """Take a REST snapshot; if it joins, append its record and those of the diffs kept."""
        outputs: Outputs = []
        state, sync = self.instruments[request.symbol], self._sync[request.symbol]
        if request.number != sync.request:
            return outputs
        try:
            self._join(state, sync, body, received_time, outputs)
        except FrameRefused as error:
            self.refused += 1
            outputs.append(Refused(body, type(error).__name__, str(error), state.symbol))
            outputs.append(Note("dead_letter", "WARNING", str(error), state.symbol, loss="refused"))
            outputs.append(self._request(state.symbol, sync.attempt + 1))
        return outputs

    def _join(
        self, state: InstrumentState, sync: Synchronizer, body: bytes, received_time: int, outputs: Outputs
    ) -> None:
        answer: messages.DepthSnapshot = self._decode(messages.decode_snapshot, body, state.symbol)
        if not sync.joins(answer.lastUpdateId):
            outputs.append(self._request(state.symbol, sync.attempt + 1))
            return
        parser = self._parsers[state.symbol]
        try:
            doubt = state.book.snapshot(
                outputs,
                parser.levels("bids", answer.bids),
                parser.levels("asks", answer.asks),
                received_time=received_time,
                exchange_sequence=answer.lastUpdateId,
            )
        except ValueRefused as error:
            raise refused_book(self.venue, state.symbol, error) from error
        if doubt is not None:
            self._doubt(state, doubt, outputs)
            return
        kept = sync.join(answer.lastUpdateId)
        self._waiting -= len(kept)
        for diff in kept:
            if not sync.live:  # one of those before showed a gap or was refused
                self._keep(state, sync, diff, outputs)
                continue
            try:
                self._follow(state, sync, diff, outputs)
            except FrameRefused as error:
                self._refuse(error, diff.frame, diff.received_time, outputs)

    def _trade(self, data: Any, frame: bytes, received_time: int, outputs: Outputs) -> None:
        trade: messages.Trade = self._decode(messages.decode_trade, data)
        self._publish(trade, "trade", trade.t, received_time, outputs)

    def _aggregate(self, data: Any, frame: bytes, received_time: int, outputs: Outputs) -> None:
        trade: messages.AggregateTrade = self._decode(messages.decode_aggregate, data)
        self._publish(trade, "aggTrade", trade.a, received_time, outputs)

    def _publish(
        self,
        trade: messages.Trade | messages.AggregateTrade,
        kind: str,
        trade_id: int,
        received_time: int,
        outputs: Outputs,
    ) -> None:
        state = self._state(trade.s)
        if state is None:
            return
        # Both tell of the same trades with ids of their own: whichever came first is followed.
        if self._trade_kind.setdefault(state.symbol, kind) != kind:
            self.ignored[kind] += 1
            return
        try:
            missing = state.trades.trade(
                outputs,
                trade_id=trade_id,
                # m: the buyer is the maker, so the aggressor sold.
                side="SELL" if trade.m else "BUY",
                price=trade.p,
                size=trade.q,
                exchange_time=ms_nanoseconds(trade.T),
                received_time=received_time,
            )
        except ValueRefused as error:
            raise FrameRefused(self.venue, str(error), symbol=state.symbol) from error
        if missing:
            self._trade_gap(state, missing, outputs)

    def _next_number(self) -> int:
        self._requests += 1
        return self._requests

    def _request(self, symbol: str, attempt: int = 0) -> FetchSnapshot:
        self._requests += 1
        sync = self._sync[symbol]
        sync.request, sync.attempt = self._requests, attempt
        name = quote(self.instruments[symbol].venue_symbol)
        return FetchSnapshot(symbol, f"/api/v3/depth?symbol={name}&limit={self._depth}", self._requests, attempt)

    def _state(self, name: str) -> InstrumentState | None:
        state = self._by_venue_symbol.get(name)
        if state is None:
            self.ignored["other_symbol"] += 1
        return state

    def _drop(self, symbol: str, sync: Synchronizer) -> None:
        dropped = sync.reset()
        self._waiting -= dropped
        self.instruments[symbol].tally.ignored += dropped

    def _ask_again(self, symbol: str, outputs: Outputs) -> None:
        # The next diff asks: only then is it known where the snapshot has to join.
        self._drop(symbol, self._sync[symbol])

    def _suspect(self, frame: bytes) -> str | None:
        if b"depthUpdate" not in frame and b"@depth" not in frame:
            return None
        named = (
            state.symbol
            for name, state in self._by_venue_symbol.items()
            if f'"{name}"'.encode() in frame or f'"{name.lower()}@depth'.encode() in frame
        )
        return next(named, None)
