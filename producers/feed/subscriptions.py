"""Subscription state of a connection: requests in flight, confirmed, refused, to retry. Pure.

Some venues answer a request item by item, others accept or refuse it as a whole. A refused whole is bisected: without
the symbols named in the venue's message, else in halves, until the bad item stands alone. An item refused alone is
retried with a backoff that doubles from 1 s to 10 min. Times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Operation: TypeAlias = Literal["subscribe", "unsubscribe"]
Item: TypeAlias = tuple[str, str]
"""(the venue's channel, canonical symbol); the symbol is empty where the channel has none."""

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 600.0
ANSWER_SECONDS: Final = 10.0
"""Timeout for an answer or data; then the item is requested again."""
AT_ONCE: Final = 4
"""Maximum retries per call of :meth:`Subscriptions.look`; the rest waits, so that others get their turn."""
_REPEATS: Final = 2
"""Number of retries of a whole request after a temporary refusal that names no symbol; then it is bisected."""
_LONGEST_LOOK: Final = 2.0
"""If two calls are further apart than this, the connection was not read and no answer could arrive."""


@dataclass(slots=True)
class Request:
    """A request in flight.

    Attributes:
        operation: subscribe or unsubscribe.
        items: those not answered yet, each with its activity counter at the time of the request.
        age: seconds during which an answer could have arrived.
        answered: whether an answer arrived that left these items open; their data will confirm them.
    """

    operation: Operation
    items: dict[Item, int]
    age: float = 0.0
    answered: bool = False


@dataclass(slots=True)
class SubscriptionGroup:
    """Items to retry in one request, ``pause`` seconds after it is first examined."""

    items: tuple[Item, ...]
    pause: float
    due: float | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Outcome of a refused request.

    Attributes:
        alone: items that are refused themselves; retried in ``pause`` seconds.
        parts: items of which the refused one is unknown; retried in parts, or as a whole.
        again: items not at fault; retried at once.
    """

    alone: Sequence[Item] = ()
    parts: Sequence[Item] = ()
    again: Sequence[Item] = ()
    pause: float = 0.0


class Subscriptions:
    """Subscription state of one connection and of those that follow it.

    Args:
        in_order: whether the venue answers each message once, unsubscriptions included, in their order.

    Attributes:
        refused: items that the venue refused, with its reason, until it confirms them.
    """

    def __init__(self, *, in_order: bool = False) -> None:
        self._in_order = in_order
        self._open: dict[int, Request] = {}
        self._waiting: list[SubscriptionGroup] = []
        self._attempts: dict[Item, int] = {}
        self._looked: float | None = None
        self.refused: dict[Item, str] = {}

    def asked(self, number: int, operation: Operation, items: Mapping[Item, int]) -> None:
        """Record message ``number``; ``items`` maps each item to its current activity counter."""
        if operation == "subscribe":
            self._leave(items)
        elif not self._in_order:
            return
        self._open[number] = Request(operation, dict(items))

    def request(self, number: int) -> Request | None:
        """Return message ``number`` if it is in flight."""
        return self._open.get(number)

    def oldest(self, operation: Operation | None = None, symbols: Collection[str] = ()) -> int | None:
        """Return the number of the oldest message in flight with this operation and about ``symbols``, if given."""
        for number, request in self._open.items():
            fits = not request.answered and operation in (None, request.operation)
            if fits and (not symbols or any(symbol in symbols for _, symbol in request.items)):
                return number
        return None

    def answered(self, number: int) -> Request | None:
        """Remove an answered message and return it; the caller confirms or refuses its items."""
        return self._open.pop(number, None)

    def left_open(self, number: int, items: Iterable[Item]) -> None:
        """Record that message ``number`` was answered except for ``items``, which their data will confirm."""
        request = self._open[number]
        request.answered = True
        request.items = {item: request.items[item] for item in items}
        if not request.items:
            del self._open[number]

    def confirm(self, items: Iterable[Item]) -> None:
        """Record that ``items`` are subscribed."""
        items = list(items)
        for item in items:
            self._attempts.pop(item, None)
            self.refused.pop(item, None)
        self._leave(items)

    def refuse(self, items: Sequence[Item], reason: str) -> float:
        """Schedule a retry of ``items``, of one symbol or refused one by one; return the backoff, seconds."""
        self._leave(items)
        return self._wait_for(tuple(items), reason)

    def refuse_whole(self, items: Sequence[Item], named: Collection[str], reason: str, *, passing: bool) -> Refusal:
        """Determine which of ``items``, one request refused as a whole, is at fault.

        Args:
            items: the items of the request.
            named: symbols named in the venue's message.
            reason: the venue's message.
            passing: whether the refusal is temporary (a rate limit, an outage).
        """
        self._leave(items)
        bad = [item for item in items if item[1] in named]
        if bad and len(bad) < len(items):
            rest = [item for item in items if item[1] not in named]
            return Refusal(alone=bad, again=rest, pause=self._by_symbol(bad, reason))
        symbols = list(dict.fromkeys(symbol for _, symbol in items))
        if len(symbols) == 1 or bad:
            return Refusal(alone=items, pause=self._by_symbol(items, reason))
        if passing and max(self._attempts.get(item, 0) for item in items) < _REPEATS:
            return Refusal(parts=items, pause=self._wait_for(tuple(items), reason))
        self.refused.update(dict.fromkeys(items, reason))
        half = set(symbols[: len(symbols) // 2])
        for inside in (True, False):
            self._waiting.append(SubscriptionGroup(tuple(item for item in items if (item[1] in half) is inside), 0.0))
        return Refusal(parts=items)

    def look(self, now: float, heard: Callable[[Item, int], bool]) -> tuple[list[Sequence[Item]], list[Item]]:
        """Return what to retry at ``now``, each entry in its own request, and what was never answered.

        Args:
            now: monotonic seconds.
            heard: whether data shows that an item is subscribed, given its recorded activity counter.
        """
        passed = min(now - self._looked, _LONGEST_LOOK) if self._looked is not None else 0.0
        self._looked = now
        unanswered = self._grow_old(passed, heard)
        due: list[Sequence[Item]] = []
        for group in list(self._waiting):
            if group.due is None:
                group.due = now + group.pause
            if now >= group.due and len(due) < AT_ONCE:
                self._waiting.remove(group)
                due.append(group.items)
        return due, unanswered

    def forget(self, symbol: str) -> None:
        """Remove a symbol that is no longer collected."""
        gone = [item for item in {*self._attempts, *self.refused, *self._items()} if item[1] == symbol]
        self.confirm(gone)

    def disconnected(self) -> None:
        """Reset for a new connection: refused items are retried soon, each in its own request (:meth:`apart`)."""
        self._open.clear()
        self._looked = None
        asked_for = {item for group in self._waiting for item in group.items}
        for group in self._waiting:
            group.pause, group.due = 0.0, None
        for symbol in dict.fromkeys(symbol for _, symbol in self.refused):
            items = tuple(item for item in self.refused if item[1] == symbol and item not in asked_for)
            if items:
                self._waiting.append(SubscriptionGroup(items, 0.0))

    def apart(self, item: Item) -> bool:
        """Whether ``item`` is to be retried in its own request."""
        return any(item in group.items for group in self._waiting)

    def asks_for(self, item: Item) -> bool:
        """Whether a request for ``item`` is in flight or pending."""
        return item in self._items()

    def _items(self) -> Iterator[Item]:
        for request in self._open.values():
            yield from request.items
        for group in self._waiting:
            yield from group.items

    def _leave(self, items: Iterable[Item]) -> None:
        """Remove ``items`` from the requests in flight and pending."""
        gone = set(items)
        for number, request in list(self._open.items()):
            if request.operation == "subscribe" and not gone.isdisjoint(request.items):
                request.items = {item: count for item, count in request.items.items() if item not in gone}
                if not request.items and not self._in_order:
                    del self._open[number]
        for group in self._waiting:
            if not gone.isdisjoint(group.items):
                group.items = tuple(item for item in group.items if item not in gone)
        self._waiting = [group for group in self._waiting if group.items]

    def _by_symbol(self, items: Sequence[Item], reason: str) -> float:
        symbols = dict.fromkeys(symbol for _, symbol in items)
        return max(self._wait_for(tuple(item for item in items if item[1] == symbol), reason) for symbol in symbols)

    def _wait_for(self, items: tuple[Item, ...], reason: str) -> float:
        attempts = max(self._attempts.get(item, 0) for item in items)
        self._attempts.update(dict.fromkeys(items, attempts + 1))
        self.refused.update(dict.fromkeys(items, reason))
        pause: float = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(attempts, 30))
        self._waiting.append(SubscriptionGroup(items, pause))
        return pause

    def _grow_old(self, passed: float, heard: Callable[[Item, int], bool]) -> list[Item]:
        found: list[Item] = []
        for number, request in list(self._open.items()):
            request.age += passed
            if request.age < ANSWER_SECONDS:
                continue
            del self._open[number]
            if request.operation == "subscribe":
                known = [item for item, count in request.items.items() if heard(item, count)]
                self.confirm(known)
                found += [item for item in request.items if item not in known]
        return found
