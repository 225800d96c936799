"""OKX WebSocket v5 protocol: ``books`` (400 levels), ``trades``.

Integrity: each book message has its own ``seqId`` and that of the message before it, ``prevSeqId``, -1 in a snapshot. A
message whose ``prevSeqId`` is not the last ``seqId`` shows a loss, whatever the numbers are: after maintenance they may
restart lower. A message that repeats its number and has no levels says that nothing changed; in a quiet book one is
sent per minute, which proves the subscription of that book alive.
https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel

The ``checksum`` field has been 0 since 23 June 2026 and is ignored:
https://www.okx.com/help/okx-order-book-channels-checksum-field-deprecation
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from alphapulse.config import VenueSettings
from alphapulse.errors import FrameRefused
from producers.feed.actions import Note, Outputs, Reconnect
from producers.feed.book import Doubt
from producers.feed.instruments import InstrumentState
from producers.feed.protocol import BookRefused, Item, Operation, VenueProtocol
from producers.feed.timestamps import ms_nanoseconds
from producers.venues.okx import messages
from producers.venues.okx.symbols import venue_symbol

DEPTH: Final = 400
"""Levels per side of the ``books`` channel."""
_ARGUMENTS: Final = 200
"""Maximum arguments per request; its text may be 64 KB long."""
_WHOLE_REQUEST: Final = frozenset({"60012", "60013", "60014", "60026", "60027"})
"""Errors of a request as a whole: its form, its arguments, its frequency.
https://www.okx.com/docs-v5/en/#error-code-websocket-public"""


class OkxProtocol(VenueProtocol):
    """OKX's books and trades for the symbols of ``settings``.

    Raises:
        ConfigError: a depth other than 400, or a symbol that is not a spot pair.
    """

    BOOK = "books"
    TRADES = "trades"

    def __init__(self, settings: VenueSettings, venue: str = "okx") -> None:
        super().__init__(venue)
        faults = []
        if settings.depth not in (None, DEPTH):
            faults.append(f"venues.{venue}.depth: {settings.depth} is not supported; use {DEPTH} or leave it out")
        self._last: dict[str, int] = {}
        self._last_trade: dict[str, int] = {}
        self._set_up(settings, faults)

    def _new_state(self, symbol: str) -> InstrumentState:
        # A message stands for ``count`` trades and has the id of the last one: gaps are counted here.
        return InstrumentState(self.venue, symbol, venue_symbol(symbol), depth=DEPTH, consecutive=False)

    def _remove_instrument(self, state: InstrumentState) -> None:
        super()._remove_instrument(state)
        self._last.pop(state.symbol, None)
        self._last_trade.pop(state.symbol, None)

    def _batches(self, items: Sequence[Item]) -> Iterable[Sequence[Item]]:
        return (items[at : at + _ARGUMENTS] for at in range(0, len(items), _ARGUMENTS))

    def _message(self, operation: Operation, items: Sequence[Item], number: int) -> str:
        wanted = ((channel, self.instruments[symbol].venue_symbol) for channel, symbol in items)
        arguments = ",".join(f'{{"channel":"{channel}","instId":"{name}"}}' for channel, name in wanted)
        return f'{{"op":"{operation}","args":[{arguments}]}}'

    def _handle(self, frame: bytes, received_time: int, outputs: Outputs) -> None:
        if frame == messages.PONG:
            self.ignored["pong"] += 1
            self.pongs += 1
            return
        message = messages.decode_frame(frame)
        if message.event is not None:
            self._event(message, frame, outputs)
            return
        if message.arg is None:
            raise self._not_understood("neither event nor arg", frame)
        match message.arg.channel:
            case "books":
                if message.action not in ("snapshot", "update"):
                    raise FrameRefused(self.venue, f"action is neither snapshot nor update: {message.action!r:.80}")
                take = self._update if message.action == "update" else self._snapshot
                books = list(self._entries(messages.BOOKS, message.data, frame, received_time, outputs))
                for book in books:
                    book.symbol = message.arg.inst_id
                self._apply_entries(books, take, BookRefused, frame, received_time, outputs)
            case "trades":
                trades = self._entries(messages.TRADES, message.data, frame, received_time, outputs)
                self._apply_entries(trades, self._trade, FrameRefused, frame, received_time, outputs)
            case channel:
                self._ignore("channel", channel, messages.IGNORED, frame)

    def _snapshot(
        self, state: InstrumentState, book: messages.OkxBook, received_time: int, outputs: Outputs
    ) -> Doubt | None:
        doubt = state.book.snapshot(
            outputs,
            state.parser.levels("bids", messages.pairs(book.bids)),
            state.parser.levels("asks", messages.pairs(book.asks)),
            received_time=received_time,
            exchange_time=ms_nanoseconds(int(book.ts)),
            exchange_sequence=book.seq_id,
        )
        self._last[state.symbol] = book.seq_id
        return doubt

    def _update(
        self, state: InstrumentState, book: messages.OkxBook, received_time: int, outputs: Outputs
    ) -> Doubt | None:
        last = self._last.get(state.symbol)
        # While the book waits for a snapshot nothing is applied; the last message may be repeated.
        if not state.book.follows or (book.prev_seq_id != last and book.seq_id == last):
            state.tally.ignored += 1
            return None
        if book.prev_seq_id != last:
            state.tally.gaps += 1
            state.book.end(outputs, received_time)
            return Doubt(
                "sequence", f"message {book.seq_id} follows {book.prev_seq_id}, but the last one received was {last}"
            )
        self._last[state.symbol] = book.seq_id
        bids, asks = messages.pairs(book.bids), messages.pairs(book.asks)
        if bytes(bids) == bytes(asks) == b"[]":
            self.ignored["unchanged"] += 1
            state.tally.unchanged += 1
            return None
        return state.book.delta(
            outputs,
            state.parser.levels("bids", bids),
            state.parser.levels("asks", asks),
            received_time=received_time,
            exchange_time=ms_nanoseconds(int(book.ts)),
            exchange_sequence=book.seq_id,
        )

    def _trade(self, state: InstrumentState, trade: messages.OkxTrade, received_time: int, outputs: Outputs) -> None:
        number = int(trade.trade_id)
        state.trades.trade(
            outputs,
            trade_id=number,
            side="BUY" if trade.side == "buy" else "SELL",
            price=trade.px,
            size=trade.sz,
            exchange_time=ms_nanoseconds(int(trade.ts)),
            received_time=received_time,
        )
        last = self._last_trade.get(state.symbol)
        if last is not None and (missing := number - int(trade.count) - last) > 0:
            self._trade_gap(state, missing, outputs)
        self._last_trade[state.symbol] = max(number, last or 0)

    def _event(self, message: messages.OkxFrame, frame: bytes, outputs: Outputs) -> None:
        event = str(message.event)
        state = self.instruments.get(message.arg.inst_id) if message.arg is not None else None
        symbol = state.symbol if state is not None else None
        text = f"{message.code} {message.msg}".strip()[:500]
        match event:
            case "subscribe":
                if message.arg is not None and symbol is not None:
                    self.subscriptions.confirm([(message.arg.channel, symbol)])
                if message.arg is not None and message.arg.channel == "books":
                    outputs.append(Note("subscribed", "INFO", "book subscribed", symbol))
            case "error":
                self._refused(message, f"request refused: {text}", outputs)
            case "channel-conn-count-error":
                outputs.append(Note("subscription_refused", "ERROR", "too many connections to a channel", symbol))
            case "notice":
                outputs.append(Reconnect(f"notice from the venue: {text}"))
            case "unsubscribe" | "channel-conn-count":
                pass
            case _:
                raise self._not_understood(f"unknown event {event[:80]!r}", frame)
        self.ignored[event] += 1

    def _refused(self, message: messages.OkxFrame, text: str, outputs: Outputs) -> None:
        """Handle a refusal: of one argument, or of a whole request.

        Arguments are answered one by one and in order. If neither ``arg`` nor the text names the refused one, it is the
        oldest one in flight.
        """
        oldest = self.subscriptions.oldest("subscribe")
        if message.code in _WHOLE_REQUEST or oldest is None:
            self._refuse_message(oldest, text, outputs)
            return
        everything = self._wanted(self.instruments.values())
        told = f"{text} {message.arg.channel} {message.arg.inst_id}" if message.arg is not None else text
        named = self._mentioned(told, everything)
        number = self.subscriptions.oldest("subscribe", named)
        request = self.subscriptions.request(number if number is not None else oldest)
        open_items = list(request.items) if request is not None else []
        words = set(re.split(r"\W+", told))
        fits = [item for item in open_items if not named or item[1] in named]
        chosen = next((item for item in fits if item[0] in words), fits[0] if fits else None)
        if chosen is None:
            outputs.append(Note("subscription_refused", "ERROR", text, next(iter(named), None)))
        else:
            self._refuse_items([chosen], text, outputs)

    def _about_book(self, frame: bytes) -> bool:
        return b'"books"' in frame and b'"data"' in frame

    def _affected_symbols(self, frame: bytes, part: bytes) -> Sequence[str]:
        return super()._affected_symbols(frame, frame)  # an entry of a book does not contain its name
