"""Binance's combined streams: diff depth synchronized with REST snapshots, trades or aggregate trades.

Integrity: each diff covers the update ids ``U`` to ``u``, contiguous with the one before (see
:mod:`producers.venues.binance.synchronizer`). A gap ends the epoch of that symbol only; its diffs are buffered and a
new snapshot is fetched. Levels beyond the snapshot's depth are unknown until a diff contains them.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import quote

import msgspec

from alphapulse.config import VenueSettings
from alphapulse.errors import FrameRefused, ValueRefused
from alphapulse.shown import shown
from producers.feed.actions import FetchSnapshot, Note, Outputs, Reconnect, Send
from producers.feed.book import Doubt
from producers.feed.entries import UNREADABLE
from producers.feed.instruments import InstrumentState
from producers.feed.protocol import BookRefused, Item, Operation, VenueProtocol
from producers.feed.timestamps import ms_nanoseconds
from producers.venues.binance import messages, streams
from producers.venues.binance.symbols import venue_symbol
from producers.venues.binance.synchronizer import MOST_KEPT, Kept, Step, Synchronizer

MOST_DEPTH = 5000
MOST_WAITING = 100_000
"""Maximum diffs buffered, over all symbols: with many symbols the REST limit delays snapshots for long."""
LEAST_KEPT = 200
"""Maximum diffs buffered per symbol: longer than any answer takes."""
_COMPARED_DEPTH = 5
"""Levels of a snapshot requested only for its update id."""
_Trade: TypeAlias = messages.BinanceTrade | messages.AggregateTrade
_DIFFS = frozenset({"depth", "depth@100ms", "depth@1000ms"})


class BinanceProtocol(VenueProtocol):
    """Binance's books and trades for the symbols of ``settings``; its ``depth`` is the snapshot depth (default 5000).

    Raises:
        ConfigError: a depth beyond what Binance offers, or a symbol that is not a pair.
    """

    BOOK = streams.DIFFS
    TRADES = streams.TRADES

    def __init__(self, settings: VenueSettings, venue: str = "binance") -> None:
        super().__init__(venue)
        faults = []
        self._depth = settings.depth if settings.depth is not None else MOST_DEPTH
        if self._depth > MOST_DEPTH:
            faults.append(f"venues.{venue}.depth: {self._depth} is not supported; the maximum is {MOST_DEPTH}")
        self._sync: dict[str, Synchronizer] = {}
        self._trade_kind: dict[str, type[_Trade]] = {}
        self._waiting = 0
        self._check_list = False
        self._in_address = streams.NAMED_IN_ADDRESS
        self._set_up(settings, faults)
        self._handlers: dict[str, Callable[[msgspec.Raw | bytes, bytes, int, Outputs], None]] = {
            **dict.fromkeys((*_DIFFS, "depthUpdate"), self._depth_update),
            "trade": partial(self._trades, messages.decode_trade),
            "aggTrade": partial(self._trades, messages.decode_aggregate),
            "serverShutdown": self._server_shutdown,
        }

    def _new_state(self, symbol: str) -> InstrumentState:
        return InstrumentState(self.venue, symbol, venue_symbol(symbol))

    def _add_instrument(self, symbol: str) -> InstrumentState:
        state = super()._add_instrument(symbol)
        self._sync[symbol] = Synchronizer()
        return state

    def _remove_instrument(self, state: InstrumentState) -> None:
        super()._remove_instrument(state)
        self._waiting -= self._sync.pop(state.symbol).reset()

    @property
    def waiting(self) -> int:
        return self._waiting

    def path(self) -> str:
        return streams.address(list(self._by_venue_symbol)[: self._in_address])

    def address_refused(self, reason: str) -> Outputs:
        """Stop naming streams in the address: one invalid name in it makes the venue refuse the connection."""
        if not self._in_address:
            return []
        self._in_address = 0
        return [Note("subscription_refused", "ERROR", f"subscribing by message instead of by address: {reason}"[:500])]

    def subscribe(self) -> list[Send]:
        # The address names the first streams. Only the list of subscriptions shows what the venue left out.
        self._check_list = bool(self.instruments)
        later = list(self.instruments)[self._in_address :]
        return self._ask("subscribe", self._wanted(self.instruments[symbol] for symbol in later))

    def retry(self, now: float) -> Outputs:
        outputs = super().retry(now)
        if self._check_list:
            self._check_list = False
            outputs.append(Send(streams.listing(self._next_number())))
        return outputs

    def _batches(self, items: Sequence[Item]) -> Iterable[Sequence[Item]]:
        symbols = list(dict.fromkeys(symbol for _, symbol in items))
        for at in range(0, len(symbols), streams.NAMED_IN_ADDRESS):
            inside = set(symbols[at : at + streams.NAMED_IN_ADDRESS])
            yield [item for item in items if item[1] in inside]

    def _message(self, operation: Operation, items: Sequence[Item], number: int) -> str:
        wanted = set(items)
        names = [
            streams.name(self.instruments[symbol].venue_symbol, channel)
            for symbol in dict.fromkeys(symbol for _, symbol in items)
            for channel in streams.CHANNELS
            if (channel, symbol) in wanted
        ]
        return streams.request(operation, names, number)

    def resubscribe(self, symbol: str) -> list[FetchSnapshot]:
        return [self._snapshot_request(symbol)]

    def verify(self, symbol: str, seconds: float) -> Outputs:
        outputs = super().verify(symbol, seconds)
        # Its update id shows whether a diff is missing; diffs are applied meanwhile.
        return [*outputs, self._snapshot_request(symbol, depth=_COMPARED_DEPTH)]

    def recheck(self, symbol: str) -> Outputs:
        return [*super().recheck(symbol), self._snapshot_request(symbol, depth=_COMPARED_DEPTH)]

    def revive(self, symbol: str, received_time: int, seconds: float) -> Outputs:
        outputs = super().revive(symbol, received_time, seconds)
        state = self.instruments[symbol]
        # A quiet market may send no diff for long; the snapshot is valid without one.
        return [
            *outputs,
            *self._ask("unsubscribe", self._wanted([state])),
            *self._ask("subscribe", self._wanted([state])),
            self._snapshot_request(symbol),
        ]

    def disconnected(self, received_time: int) -> Outputs:
        for symbol, sync in self._sync.items():
            self._drop(symbol, sync)
        return super().disconnected(received_time)

    def _handle(self, frame: bytes, received_time: int, outputs: Outputs) -> None:
        message = messages.decode_frame(frame)
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
        self._ignore("stream or event", known, messages.IGNORED, frame)

    def _other(self, message: messages.BinanceFrame, frame: bytes, outputs: Outputs) -> None:
        if message.A is not None and message.B is not None:
            self.ignored["bookTicker"] += 1
        elif message.error is not msgspec.UNSET:
            self.ignored["error"] += 1
            number = message.id if isinstance(message.id, int) else None
            self._refuse_message(number, f"request refused: {shown(message.error, 400)}", outputs)
        elif message.result is not msgspec.UNSET and message.id is not msgspec.UNSET:
            if isinstance(message.result, list):
                self._listed(set(message.result), outputs)
            elif isinstance(message.id, int) and self.subscriptions.answered(message.id) is not None:
                self._check_list = True
            self.ignored["result"] += 1
        else:
            raise self._not_understood("neither stream nor event nor answer", frame)

    def _listed(self, listed: Container[Any], outputs: Outputs) -> None:
        """Process the list of subscribed streams: what is missing there and not in flight was refused."""
        for state in list(self.instruments.values()):
            items = self._wanted([state])
            there = [item for item in items if streams.name(state.venue_symbol, item[0]) in listed]
            self.subscriptions.confirm(there)
            missing = [item for item in items if item not in there and not self.subscriptions.asks_for(item)]
            if missing:
                self._refuse_items(missing, "missing in the venue's list of subscribed streams", outputs)

    def _server_shutdown(self, data: Any, frame: bytes, received_time: int, outputs: Outputs) -> None:
        self.ignored["serverShutdown"] += 1
        outputs.append(Reconnect("serverShutdown announced"))

    def _depth_update(self, data: Any, frame: bytes, received_time: int, outputs: Outputs) -> None:
        update = messages.decode_depth(data)
        state = self._by_venue_symbol.get(update.symbol)
        if state is None:
            self.ignored["other_symbol"] += 1
            return
        self._take(state, self._sync[state.symbol], Kept(update, frame, received_time), outputs)

    def _take(self, state: InstrumentState, sync: Synchronizer, diff: Kept, outputs: Outputs) -> None:
        if not sync.live:
            self._keep(state, sync, diff, outputs)
            return
        try:
            doubt = self._follow(state, sync, diff, outputs)
        except ValueRefused as error:
            self._refuse(self._refusal(state, error), diff.frame, diff.received_time, outputs)
            return
        if doubt is not None:
            self._doubt(state, doubt, outputs)
            if doubt.kind == "sequence":
                self._keep(state, sync, diff, outputs)

    def _keep(self, state: InstrumentState, sync: Synchronizer, kept: Kept, outputs: Outputs) -> None:
        most = min(MOST_KEPT, max(LEAST_KEPT, MOST_WAITING // len(self.instruments)))
        dropped = sync.keep(kept, most)
        self._waiting += 1 - dropped
        state.tally.ignored += dropped
        if not sync.request:
            outputs.append(self._snapshot_request(state.symbol))

    def _follow(self, state: InstrumentState, sync: Synchronizer, diff: Kept, outputs: Outputs) -> Doubt | None:
        update = diff.update
        match sync.follow(update):
            case Step.OLD:
                state.tally.ignored += 1
                return None
            case Step.GAP:
                state.tally.gaps += 1
                state.book.end(outputs, diff.received_time)
                return Doubt("sequence", f"update ids {sync.last + 1} to {update.U - 1} are missing")
        if not sync.request:
            state.book.verifying = False
        return state.book.delta(
            outputs,
            state.parser.levels("b", update.b),
            state.parser.levels("a", update.a),
            received_time=diff.received_time,
            exchange_time=ms_nanoseconds(update.E),
            exchange_sequence=update.u,
        )

    def snapshot(self, request: FetchSnapshot, body: bytes, received_time: int) -> Outputs:
        """Process a REST snapshot; if it joins the diffs, append its record and those of the buffered diffs.

        A snapshot requested to verify a quiet book confirms it if no diff is missing; otherwise that diff must follow.
        """
        outputs: Outputs = []
        state, sync = self.instruments[request.symbol], self._sync[request.symbol]
        if request.number != sync.request:
            return outputs
        try:
            self._join(state, sync, body, received_time, outputs)
        except UNREADABLE as error:
            self._dead_letter(self._unreadable(error, body, state.symbol), body, state.symbol, outputs)
            outputs.append(self._snapshot_request(state.symbol, sync.attempt + 1))
        except ValueRefused as error:
            self._dead_letter(self._refusal(state, error), body, state.symbol, outputs)
            outputs.append(self._snapshot_request(state.symbol, sync.attempt + 1))
        return outputs

    def _join(
        self, state: InstrumentState, sync: Synchronizer, body: bytes, received_time: int, outputs: Outputs
    ) -> None:
        answer = messages.decode_snapshot(body)
        if sync.live:
            sync.request = 0
            if answer.lastUpdateId <= sync.last:
                state.book.verifying = False
                state.tally.unchanged += 1
            return
        if not sync.joins(answer.lastUpdateId):
            outputs.append(self._snapshot_request(state.symbol, sync.attempt + 1))
            return
        doubt = state.book.snapshot(
            outputs,
            state.parser.levels("bids", answer.bids),
            state.parser.levels("asks", answer.asks),
            received_time=received_time,
            exchange_sequence=answer.lastUpdateId,
        )
        if doubt is not None:
            self._doubt(state, doubt, outputs)
            if not state.book.follows:
                return
        kept = sync.join(answer.lastUpdateId)
        self._waiting -= len(kept)
        for diff in kept:  # after a gap or a refused diff the following ones are buffered again
            self._take(state, sync, diff, outputs)

    def _trades(
        self,
        decode: Callable[[msgspec.Raw | bytes], _Trade],
        data: Any,
        frame: bytes,
        received_time: int,
        outputs: Outputs,
    ) -> None:
        self._apply_entry(decode(data), self._trade, FrameRefused, frame, received_time, outputs)

    def _trade(self, state: InstrumentState, trade: _Trade, received_time: int, outputs: Outputs) -> None:
        kind = type(trade)
        # Both kinds report the same trades with different ids: the kind received first is used.
        if self._trade_kind.setdefault(state.symbol, kind) is not kind:
            self.ignored[str(kind.__struct_config__.tag)] += 1
            return
        missing = state.trades.trade(
            outputs,
            trade_id=trade.number,
            # m: the buyer is the maker, so the aggressor sold.
            side="SELL" if trade.m else "BUY",
            price=trade.p,
            size=trade.q,
            exchange_time=ms_nanoseconds(trade.T),
            received_time=received_time,
        )
        if missing:
            self._trade_gap(state, missing, outputs)

    def _refusal(self, state: InstrumentState, error: ValueRefused) -> BookRefused:
        return BookRefused(self.venue, str(error), symbol=state.symbol)

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _snapshot_request(self, symbol: str, attempt: int = 0, *, depth: int | None = None) -> FetchSnapshot:
        sync = self._sync[symbol]
        sync.request, sync.attempt = self._next_number(), attempt
        name = quote(self.instruments[symbol].venue_symbol)
        return FetchSnapshot(symbol, f"/api/v3/depth?symbol={name}&limit={depth or self._depth}", sync.request, attempt)

    def _drop(self, symbol: str, sync: Synchronizer) -> None:
        dropped = sync.reset()
        self._waiting -= dropped
        self.instruments[symbol].tally.ignored += dropped

    def _request_snapshot(self, symbol: str, outputs: Outputs) -> None:
        # Sent with the next diff: only then is it known which update id the snapshot must reach.
        if not self.instruments[symbol].book.follows:
            self._drop(symbol, self._sync[symbol])

    def _about_book(self, frame: bytes) -> bool:
        return b"depthUpdate" in frame or b"@depth" in frame

    def _named(self, text: bytes) -> list[str]:
        return [
            state.symbol
            for name, state in self._by_venue_symbol.items()
            if f'"{name}"'.encode() in text or f'"{name.lower()}@depth'.encode() in text
        ]
