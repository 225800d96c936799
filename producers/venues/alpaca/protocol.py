"""Alpaca stream protocol: trades, quotes, minute bars; corrections and cancels of trades.

Integrity: there is no book, sequence or replay, so a loss within a connection cannot be detected. Detectable are a
silent connection while the market is open (:mod:`producers.venues.alpaca.watchdog`), a missing answer, and a "slow
client" (407), whose connection the venue closes.

A trade on ``md.trades`` is not changed afterwards. Its correction or cancel is an event (``trade_correction``,
``trade_cancel``) whose details have the same trade id and the corrected values: a second trade record would count the
volume twice for every reader that does not handle corrections.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from alphapulse.config import VenueSettings
from alphapulse.errors import FrameRefused
from producers.feed.actions import FetchSnapshot, Halt, Note, Outputs, Reconnect, Send
from producers.feed.instruments import InstrumentState
from producers.feed.protocol import Item, Operation, VenueProtocol
from producers.feed.timestamps import iso_nanoseconds
from producers.venues.alpaca import messages
from producers.venues.alpaca.bars import Bars, quote_of, trade_number
from producers.venues.alpaca.messages import number_text
from producers.venues.alpaca.symbols import venue_symbol
from producers.venues.alpaca.watchdog import StreamWatchdog

TERMINAL: Final = frozenset({402, 405, 408, 409, 410})
"""Wrong key, too many symbols, feed not enabled, feed not in the subscription, channel not on this feed: a retry
cannot help. https://docs.alpaca.markets/docs/streaming-market-data#errors"""
OF_A_REQUEST: Final = frozenset({400, 405})
"""If a subscription is in flight, the venue refuses it: the request is malformed or has too many symbols."""
BARS: Final = "bars"
CONNECTION_LIMIT: Final = 406
LIMIT_SECONDS: Final = 30.0
"""A lost connection may still count for a minute and a half, so a retry every second is useless."""
SLOW_CLIENT: Final = 407
ANSWER_SECONDS: Final = 15
"""The venue waits 10 s for the key."""


class AlpacaProtocol(VenueProtocol):
    """Alpaca's trades, quotes and bars for the symbols of ``settings``.

    Raises:
        ConfigError: no key or secret, a symbol that is not a ticker, or a depth (there are no books).
    """

    TRADES = "trades"
    OTHERS = ("quotes", BARS)
    IN_ORDER = True

    def __init__(self, settings: VenueSettings, venue: str = "alpaca") -> None:
        super().__init__(venue)
        faults = []
        for name, value in (("key", settings.key), ("secret", settings.secret)):
            if not value.get_secret_value():
                variable = f"ALPHAPULSE_VENUES__{venue.upper()}__{name.upper()}"
                faults.append(f"venues.{venue}.{name}: missing; create an API key at the venue and set {variable}")
        if settings.depth is not None:
            faults.append(
                f"venues.{venue}.depth: cannot be set because this venue has no books, found {settings.depth}"
            )
        self._key, self._secret = settings.key, settings.secret
        self._bars = Bars()
        self._watchdog = StreamWatchdog()
        self._authenticated = False
        self._subscribed = False  # or at least received an answer
        self._waiting_since: int | None = None
        self._set_up(settings, faults)

    def _new_state(self, symbol: str) -> InstrumentState:
        return InstrumentState(self.venue, symbol, venue_symbol(symbol), consecutive=False)

    def subscribe(self) -> list[Send]:
        if not self.instruments:
            return []
        keys = {"action": "auth", "key": self._key.get_secret_value(), "secret": self._secret.get_secret_value()}
        return [Send(msgspec.json.encode(keys).decode())]

    def _ask(self, operation: Operation, items: Sequence[Item]) -> list[Send]:
        # Nothing can be subscribed before authentication; then everything is.
        return super()._ask(operation, items) if self._authenticated else []

    def _batches(self, items: Sequence[Item]) -> Iterable[Sequence[Item]]:
        return [items]

    def _message(self, operation: Operation, items: Sequence[Item], number: int) -> str:
        request: dict[str, object] = {"action": operation}
        for channel in dict.fromkeys(channel for channel, _ in items):
            request[channel] = self._names(item for item in items if item[0] == channel)
        if BARS in request:
            request["updatedBars"] = request[BARS]
        return msgspec.json.encode(request).decode()

    def retry(self, now: float) -> Outputs:
        return super().retry(now) if self._authenticated else []

    def resubscribe(self, symbol: str) -> list[Send | FetchSnapshot]:
        return []  # no snapshots exist

    def disconnected(self, received_time: int) -> Outputs:
        self._authenticated = self._subscribed = False
        self._waiting_since = None
        self._watchdog.disconnected()
        return super().disconnected(received_time)

    def invalidate_unopened(self, received_time: int) -> Outputs:
        return []  # there are no books

    def overdue(self, now: int) -> Outputs:
        if not self._subscribed:
            if self._waiting_since is None:
                self._waiting_since = now
            elif self.instruments and now - self._waiting_since >= ANSWER_SECONDS * 1_000_000_000:
                self._waiting_since = None
                return [Reconnect(f"no subscription confirmed within {ANSWER_SECONDS} s")]
            return []
        seconds = self._watchdog.mute(now)
        if seconds is None:
            return []
        reason = f"no data for {seconds} s while the market is open"
        return [Note("mute", "WARNING", reason, loss="silence"), Reconnect(reason)]

    def _handle(self, frame: bytes, received_time: int, outputs: Outputs) -> None:
        for message in self._entries(messages.MESSAGES, frame, frame, received_time, outputs):
            self._take(message, frame, received_time, outputs)

    def _take(self, message: messages.Message, frame: bytes, received_time: int, outputs: Outputs) -> None:
        match message:
            case messages.Success():
                self._success(message, outputs)
            case messages.AlpacaError():
                self._error(message, outputs)
            case messages.AlpacaSubscription():
                self._confirmed(message, received_time, outputs)
            case (
                messages.AlpacaTrade()
                | messages.AlpacaQuote()
                | messages.AlpacaBar()
                | messages.Correction()
                | messages.Cancel()
            ):
                self._watchdog.heard(received_time)
                self._apply_entry(message, self._data, FrameRefused, frame, received_time, outputs)
            case _:
                self._watchdog.heard(received_time)
                self.ignored[messages.IGNORED[type(message)]] += 1

    def _data(self, state: InstrumentState, message: messages.Data, received_time: int, outputs: Outputs) -> None:
        match message:
            case messages.AlpacaQuote():
                outputs.append(quote_of(message, self.venue, received_time))
            case messages.AlpacaTrade():
                time = iso_nanoseconds(message.t)
                state.trades.trade(
                    outputs,
                    trade_id=trade_number(time, message.x, message.i),
                    side="UNKNOWN",
                    price=number_text(message.p),
                    size=number_text(message.s),
                    exchange_time=time,
                    received_time=received_time,
                )
            case messages.AlpacaBar():
                outputs.append(self._bars.candle(message, received_time))
            case messages.Correction():
                outputs.append(_correction(state.symbol, message))
            case messages.Cancel():
                outputs.append(_cancel(state.symbol, message))

    def _success(self, message: messages.Success, outputs: Outputs) -> None:
        self.ignored["success"] += 1
        if message.msg == "authenticated":
            self._authenticated = True
            outputs += super().subscribe()

    def _confirmed(self, message: messages.AlpacaSubscription, received_time: int, outputs: Outputs) -> None:
        self.ignored["subscription"] += 1
        self._subscribed = True
        self._watchdog.subscribed(received_time)
        outputs.append(Note("subscribed", "INFO", "subscriptions confirmed"))
        listed = {"trades": set(message.trades), "quotes": set(message.quotes), BARS: set(message.bars)}
        self._take_listing(lambda item: item[1] in listed[item[0]], outputs, complete=True)

    def _error(self, message: messages.AlpacaError, outputs: Outputs) -> None:
        self.ignored["error"] += 1
        reason = f"error from the venue: {message.code} {message.msg[:300]}"
        number = self.subscriptions.oldest("subscribe")
        if message.code in OF_A_REQUEST and number is not None:
            self._subscribed = True
            self._refuse_message(number, reason, outputs)
            return
        if message.code in TERMINAL:
            outputs.append(Note("subscription_refused", "ERROR", reason))
            outputs.append(Halt(reason))
            return
        if message.code == SLOW_CLIENT:
            outputs.append(Note("slow_client", "ERROR", reason, loss="connection"))
        else:
            outputs.append(Note("subscription_refused", "ERROR", reason))
        outputs.append(Reconnect(reason, LIMIT_SECONDS if message.code == CONNECTION_LIMIT else 0.0))

    def _request_snapshot(self, symbol: str, outputs: Outputs) -> None:
        """Do nothing: the venue has no books."""


def _correction(symbol: str, message: messages.Correction) -> Note:
    time = iso_nanoseconds(message.t)
    original, corrected = (str(trade_number(time, message.x, number)) for number in (message.oi, message.ci))
    details = {
        "trade_id": original,
        "price": number_text(message.op),
        "size": number_text(message.os),
        "corrected_trade_id": corrected,
        "corrected_price": number_text(message.cp),
        "corrected_size": number_text(message.cs),
        "exchange_time": str(time),
    }
    return Note("trade_correction", "WARNING", f"trade {original} was corrected", symbol, details=details)


def _cancel(symbol: str, message: messages.Cancel) -> Note:
    time = iso_nanoseconds(message.t)
    number = str(trade_number(time, message.x, message.i))
    details = {
        "trade_id": number,
        "price": number_text(message.p),
        "size": number_text(message.s),
        "action": message.a,
        "exchange_time": str(time),
    }
    return Note("trade_cancel", "WARNING", f"trade {number} was cancelled", symbol, details=details)
