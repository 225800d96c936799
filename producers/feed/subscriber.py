"""Subscription requests of a venue's protocol: subscribing, refusals and retries. Pure."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import filterfalse
from typing import ClassVar, Final

from producers.feed.actions import Note, Outputs, Send
from producers.feed.instruments import InstrumentSet, InstrumentState
from producers.feed.subscriptions import ANSWER_SECONDS, Item, Operation, Refusal, Subscriptions
from schemas.records import Severity

_PASSING: Final = re.compile(
    r"\brates?\b|too (many|frequent|fast)|again|temporar|unavailable|overload|busy|internal|time[d -]?out",
    re.IGNORECASE,
)
"""Refusals that are temporary. A wrong match costs two retries."""
_WORDS: Final = re.compile(r"[\w./-]+")
FEW: Final = 3
"""Maximum number of symbols with one request each: so few messages do not wait for the venues' limits."""
_TOLD: Final = 10
"""Symbols named in one event; further ones are only counted."""


class ChannelSubscriber(InstrumentSet):
    """Subscribes each instrument to its channels.

    Attributes:
        BOOK, TRADES: the venue's names of those channels; empty where it has none.
        OTHERS: further channels per instrument.
        IN_ORDER: whether each message gets one answer, in the order of the messages.
        subscriptions: state of all requests.
    """

    BOOK: ClassVar[str] = ""
    TRADES: ClassVar[str] = ""
    OTHERS: ClassVar[tuple[str, ...]] = ()
    IN_ORDER: ClassVar[bool] = False

    def __init__(self, venue: str) -> None:
        super().__init__(venue)
        self.subscriptions = Subscriptions(in_order=self.IN_ORDER)
        self._number = 0

    def subscribe(self) -> list[Send]:
        """Return the requests for a new connection."""
        apart = self.subscriptions.apart
        items = [item for item in self._wanted(self.instruments.values()) if not apart(item)]
        return self._ask("subscribe", items)

    def resubscribe_book(self, symbol: str) -> list[Send]:
        """Return the requests that unsubscribe one book and subscribe it again."""
        item = [(self.BOOK, symbol)]
        return [*self._ask("unsubscribe", item), *self._ask("subscribe", item)]

    def retry(self, now: float) -> Outputs:
        """Retry refused and unanswered requests whose backoff has elapsed; called about once a second.

        Args:
            now: monotonic seconds.
        """
        outputs: Outputs = []
        due, silent = self.subscriptions.look(now, lambda item, before: self._count(item) > before)
        # A book without data is resubscribed as a silent one; for other channels only this check detects it.
        unanswered = [item for item in silent if item[0] != self.BOOK]
        if unanswered:
            reason = f"no answer within {ANSWER_SECONDS:g} s"
            pause = self.subscriptions.refuse(unanswered, reason)
            outputs.append(_note("subscription_unanswered", "WARNING", unanswered, f"{reason}; {_when(pause)}"))
        for items in due:
            outputs += self._ask("subscribe", items)
        return outputs

    def address_refused(self, reason: str) -> Outputs:
        """Handle that the venue refused to connect at :meth:`VenueProtocol.path`."""
        return []

    def unwatched(self) -> Collection[str]:
        """Return the symbols whose book is known not to be subscribed: their silence is no fault."""
        return {symbol for channel, symbol in self.subscriptions.refused if channel == self.BOOK}

    def refusals(self) -> dict[str, dict[str, str]]:
        """Return the current refusals with their reasons, by symbol and channel."""
        found: dict[str, dict[str, str]] = {}
        for (channel, symbol), reason in self.subscriptions.refused.items():
            found.setdefault(symbol, {})[channel] = reason
        return found

    # --- for subclasses ---

    @abstractmethod
    def _message(self, operation: Operation, items: Sequence[Item], number: int) -> str:
        """Return the request for ``items``, one batch; ``number`` identifies it."""

    def _batches(self, items: Sequence[Item]) -> Iterable[Sequence[Item]]:
        """Split ``items`` into messages; by default one per channel."""
        for channel in dict.fromkeys(channel for channel, _ in items):
            yield [item for item in items if item[0] == channel]

    def _ask(self, operation: Operation, items: Sequence[Item]) -> list[Send]:
        """Return the requests to subscribe or unsubscribe ``items``, and record them as sent."""
        sends = []
        for batch in self._batches(items) if items else ():
            self._number += 1
            self.subscriptions.asked(self._number, operation, {item: self._count(item) for item in batch})
            sends.append(Send(self._message(operation, batch, self._number)))
        return sends

    def _wanted(self, states: Iterable[InstrumentState]) -> list[Item]:
        channels = [channel for channel in (self.BOOK, self.TRADES, *self.OTHERS) if channel]
        symbols = [state.symbol for state in states]
        return [(channel, symbol) for channel in channels for symbol in symbols]

    def _names(self, items: Iterable[Item]) -> list[str]:
        """Return the venue's symbols of ``items``, without duplicates."""
        return [self.instruments[symbol].venue_symbol for symbol in dict.fromkeys(symbol for _, symbol in items)]

    def _refuse_items(self, items: Sequence[Item], text: str, outputs: Outputs) -> None:
        """Handle that the venue refused exactly ``items``; the rest of their request is unaffected."""
        self._tell(items, text, self.subscriptions.refuse(items, text), outputs)

    def _refuse_message(self, number: int | None, text: str, outputs: Outputs) -> None:
        """Handle that the venue refused message ``number`` as a whole; None: it is unknown which."""
        request = self.subscriptions.answered(number) if number is not None else None
        if request is None or not request.items:
            named = list(self._mentioned(text, self._wanted(self.instruments.values())))
            outputs.append(Note("subscription_refused", "ERROR", text, named[0] if len(named) == 1 else None))
            return
        if request.operation == "unsubscribe":
            outputs.append(_note("unsubscription_refused", "WARNING", list(request.items), text))
            return
        items = list(request.items)
        passing = _PASSING.search(text) is not None
        found = self.subscriptions.refuse_whole(items, self._mentioned(text, items), text, passing=passing)
        self._tell_refusal(found, text, outputs)
        outputs += self._ask("subscribe", found.again)

    def _take_listing(self, listed: Callable[[Item], bool], outputs: Outputs, *, complete: bool) -> None:
        """Process a list of subscriptions, the answer to the oldest message.

        Args:
            listed: whether an item is in the list.
            outputs: to append to.
            complete: whether items not in the list are refused; otherwise their data confirms them.
        """
        subscriptions = self.subscriptions
        subscriptions.confirm([item for item in subscriptions.refused if listed(item)])
        number = subscriptions.oldest()
        request = subscriptions.request(number) if number is not None else None
        if number is None or request is None:
            return
        there, missing = list(filter(listed, request.items)), list(filterfalse(listed, request.items))
        if request.operation == "subscribe" and not complete:
            subscriptions.left_open(number, missing)
        else:
            subscriptions.answered(number)
        if request.operation == "unsubscribe":
            return
        subscriptions.confirm(there)
        if complete:
            for symbol in dict.fromkeys(symbol for _, symbol in missing):
                self._refuse_items([item for item in missing if item[1] == symbol], "not subscribed to", outputs)

    def _mentioned(self, text: str, items: Iterable[Item]) -> set[str]:
        """Return the symbols of ``items`` that occur in ``text``."""
        words = {word.strip("./-").upper() for word in _WORDS.findall(text)}
        symbols = {symbol for _, symbol in items}
        return {
            state.symbol
            for name, state in self._by_venue_symbol.items()
            if state.symbol in symbols and name.upper() in words
        }

    def _tell_refusal(self, found: Refusal, text: str, outputs: Outputs) -> None:
        for symbol in dict.fromkeys(symbol for _, symbol in found.alone):
            self._tell([item for item in found.alone if item[1] == symbol], text, found.pause, outputs)
        if found.parts:
            self._tell(found.parts, text, found.pause, outputs)

    def _tell(self, items: Sequence[Item], text: str, pause: float, outputs: Outputs) -> None:
        outputs.append(_note("subscription_refused", "ERROR", items, f"{text}; {_when(pause)}"))

    def _count(self, item: Item) -> int:
        """Return a counter that grows when data shows that ``item`` is subscribed: a book's snapshots, or trades."""
        state = self.instruments.get(item[1])
        if state is None:
            return 0
        tally = state.tally
        if item[0] == self.BOOK:
            return tally.snapshots + tally.withheld
        return tally.trades + tally.duplicate_trades if item[0] == self.TRADES else 0


def apart_if_few(batch: Sequence[Item]) -> Iterable[Sequence[Item]]:
    """Split a batch of few symbols into one per symbol: a venue that refuses whole messages then refuses only one."""
    symbols = list(dict.fromkeys(symbol for _, symbol in batch))
    if len(symbols) > FEW:
        return [batch]
    return [[item for item in batch if item[1] == symbol] for symbol in symbols]


def _when(pause: float) -> str:
    return f"retry in {pause:g} s" if pause else "retry now, in two parts"


def _note(kind: str, severity: Severity, items: Sequence[Item], text: str) -> Note:
    symbols = list(dict.fromkeys(symbol for _, symbol in items))
    channels = ", ".join(dict.fromkeys(channel for channel, _ in items))
    named = ", ".join(symbols[:_TOLD]) + (f" and {len(symbols) - _TOLD} more" if len(symbols) > _TOLD else "")
    one = symbols[0] if len(symbols) == 1 else None
    details = {"channels": channels, "symbols": named}
    about = f"{channels} of {named}" if named else channels
    return Note(kind, severity, f"{about}: {text}"[:900], one or None, details=details)
