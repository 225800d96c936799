"""What a client has subscribed to, and how far it has got with each feed. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from alphapulse.client.book import Book
from alphapulse.client.messages import (
    BOOK_CHANNELS,
    WITHOUT_SYMBOL,
    Bbo,
    BookDelta,
    BookSnapshot,
    FeedMessage,
    Trades,
    TradesSnapshot,
)
from alphapulse.client.patterns import intersect, matches

FeedName: TypeAlias = tuple[str | None, str | None]
"""(venue, symbol), None where the channel has none."""

MAX_NAMES: Final = 200
"""Names or positions in one list of an operation."""
MAX_POSITION_BYTES: Final = 10_000
"""Of an operation's positions: the gateway takes messages of up to 16 KiB."""
_RECOVERABLE: Final = frozenset({"book", "l2", "bbo", "trades"})
"""Channels that take positions to continue from."""


@dataclass(frozen=True, slots=True)
class Request:
    """A subscription as the user asked for it; ``options`` as in the operation.

    Attributes:
        venues, symbols: names or patterns; empty where the channel takes none, or for all.
    """

    channel: str
    venues: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def covers(self, venue: str | None, symbol: str | None) -> bool:
        """Return whether a feed of this channel belongs to this subscription."""
        return _covered(self.venues, venue) and (self.channel in WITHOUT_SYMBOL or _covered(self.symbols, symbol))

    def overlaps(self, other: Request) -> bool:
        """Return whether a feed could belong to both."""
        if self.channel != other.channel:
            return False
        return _overlap(self.venues, other.venues) and (
            self.channel in WITHOUT_SYMBOL or _overlap(self.symbols, other.symbols)
        )

    def operation(self, op: str, **fields: Any) -> dict[str, Any]:
        """Return ``op`` on all feeds of this subscription, with its options if it is to subscribe."""
        message: dict[str, Any] = {"op": op, "channel": self.channel}
        if self.venues:
            message["venue"] = _one_or_list(self.venues)
        if self.symbols:
            message["symbol"] = _one_or_list(self.symbols)
        return message | (self.options if op == "subscribe" else {}) | fields

    def __str__(self) -> str:
        names = [",".join(names) for names in (self.venues, self.symbols) if names]
        return " ".join([self.channel, *names])


def _covered(patterns: tuple[str, ...], name: str | None) -> bool:
    if not patterns:
        return True
    if name is None:
        # What belongs to no venue (a service) is covered by "all venues".
        return "*" in patterns
    return any(matches(pattern, name) for pattern in patterns)


def _overlap(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    if not ours or not theirs or not set(ours).isdisjoint(theirs):
        return True
    wild = [(one, other) for one in ours for other in theirs if "*" in one or "*" in other]
    return any(intersect(one, other) for one, other in wild)


def _one_or_list(names: tuple[str, ...]) -> str | list[str]:
    return names[0] if len(names) == 1 else list(names)


class Feed:
    """The state of one feed.

    Attributes:
        book: of the channels book and l2.
        asked: local time (s) of the last subscription to it.
        due: a new snapshot has to be asked for as soon as the pause between two allows.
        interrupted: the connection was lost since its last message, and nobody has said yet how it goes on.
    """

    def __init__(self, channel: str, venue: str | None, symbol: str | None, book: Book | None, asked: float) -> None:
        self.channel = channel
        self.venue = venue
        self.symbol = symbol
        self.book = book
        self.asked = asked
        self.due = False
        self.interrupted = False
        self._position: dict[str, Any] | None = None

    @property
    def position(self) -> dict[str, Any] | None:
        """Where to continue after a reconnection; None if a new beginning is needed."""
        return self._position

    def passed(self, message: FeedMessage) -> None:
        """Note how far ``message`` brought us."""
        if isinstance(message, (BookSnapshot, BookDelta, Bbo)):
            in_step = self.book.in_step if self.book is not None else not isinstance(message, Bbo) or message.valid
            numbers = {"epoch": message.epoch, "sequence": message.sequence}
            self._position = self._names() | numbers if in_step else None
        elif isinstance(message, (Trades, TradesSnapshot)) and message.trades:
            self._position = self._names() | {"trade_id": message.trades[-1].id}

    def lost(self) -> None:
        """What comes next does not follow: there is no position."""
        self._position = None

    def _names(self) -> dict[str, Any]:
        return {"venue": self.venue, "symbol": self.symbol}


class Subscription:
    """A subscription's state in the session.

    Attributes:
        key: the session's number for it.
        state: ``waiting`` (for a connection), ``asked``, ``confirmed``, ``refused`` (will be tried again).
        ever_confirmed: the gateway has accepted it before, so that a refusal is only for now.
        retry_at: local time (s) to ask again, while refused.
    """

    def __init__(self, key: int, request: Request) -> None:
        self.key = key
        self.request = request
        self.state: Literal["waiting", "asked", "confirmed", "refused"] = "waiting"
        self.ever_confirmed = False
        self.retry_at = 0.0
        self.feeds: dict[FeedName, Feed] = {}

    def operations(self) -> Iterator[dict[str, Any]]:
        """Yield the operations that (re)establish it, with the positions of its feeds.

        Exact names are asked for in several messages if one cannot hold the positions; a pattern is one operation, and
        feeds beyond the limit begin anew.
        """
        request = self.request
        positions = [feed.position for feed in self.feeds.values() if feed.position is not None]
        if request.channel not in _RECOVERABLE or not positions:
            yield request.operation("subscribe")
            return
        if _fits(positions) or any("*" in name for name in (*request.venues, *request.symbols)):
            yield request.operation("subscribe", since=_fitting(positions))
            return
        step = max(1, 50 // len(request.venues))
        for at in range(0, len(request.symbols), step):
            symbols = request.symbols[at : at + step]
            part = Request(request.channel, request.venues, symbols, request.options)
            since = [position for position in positions if position["symbol"] in symbols]
            yield part.operation("subscribe", **({"since": _fitting(since)} if since else {}))

    def again(self, feed: Feed) -> dict[str, Any]:
        """Return the operation that asks for a new beginning of one feed."""
        names = [() if name is None else (name,) for name in (feed.venue, feed.symbol)]
        return Request(self.request.channel, names[0], names[1], self.request.options).operation("subscribe")

    @property
    def has_books(self) -> bool:
        return self.request.channel in BOOK_CHANNELS


def _size(position: dict[str, Any]) -> int:
    # The text is an upper bound of either encoding, names of other scripts apart.
    return len(str(position).encode())


def _fits(positions: list[dict[str, Any]]) -> bool:
    return len(positions) <= MAX_NAMES and sum(map(_size, positions)) <= MAX_POSITION_BYTES


def _fitting(positions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    total = 0
    fitting = []
    for position in positions[:MAX_NAMES]:
        total += _size(position)
        if total > MAX_POSITION_BYTES:
            break
        fitting.append(position)
    return fitting
