"""One client's conversation with a venue: what it subscribed to and what the venue answers. Pure.

A session gets the client's messages and the time, and returns :class:`SessionAnswer`; where the market data comes from
(a recording, a simulated market) is no matter of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

BOOK = "book"
TRADES = "trades"
QUOTES = "quotes"
BARS = "bars"
HEARTBEATS = "heartbeats"
INSTRUMENTS = "instruments"

MARKET_DATA = frozenset({BOOK, TRADES, QUOTES, BARS})
"""What a client subscribes to for its own sake."""

Key = tuple[str, str]
"""(feed, venue's symbol): what a subscription is about and a frame belongs to. Feeds that no constant above names go
by the venue's own name; the symbol is empty where the feed has none."""


@dataclass(frozen=True, slots=True)
class VenueSubscription:
    """One thing a client asked for.

    Attributes:
        feed: one of the constants above, or the venue's own name of another channel.
        symbol: in the venue's spelling, empty where the channel has none.
        channel: the venue's name of the channel.
        depth: levels asked for, 0 where the venue offers no choice.
        snapshot: whether the present state was asked for as well.
    """

    feed: str
    symbol: str
    channel: str
    depth: int = 0
    snapshot: bool = True

    @property
    def key(self) -> Key:
        return self.feed, self.symbol


@dataclass(slots=True)
class SessionAnswer:
    """What the venue does about a message: frames to send back first, then subscriptions made and ended."""

    replies: list[bytes] = field(default_factory=list)
    added: list[VenueSubscription] = field(default_factory=list)
    removed: list[VenueSubscription] = field(default_factory=list)


class VenueSession(ABC):
    """A client's conversation with a venue.

    Args:
        symbols: what is traded there, in the venue's spelling.
    """

    numbers_frames = False
    """Whether :meth:`outgoing` numbers what one client gets: then it comes before anything can go wrong on the way."""

    def __init__(self, symbols: Collection[str]) -> None:
        self.symbols = frozenset(symbols)
        self.subscriptions: dict[Key, VenueSubscription] = {}
        self.next_number = 0
        """Of the next frame to this client, where the venue numbers them; what is skipped is lost to the client."""
        self.refuses: Callable[[Key], bool] = _never
        """Asked for each new subscription: whether the venue will not have it, though nothing is wrong with it."""
        self.last_trade: Callable[[str], tuple[int, int] | None] = _unknown
        """Asked for heartbeats that name a symbol's last trade and message; None: only what was sent is known."""
        self.misses: Callable[[str], bool] = _never
        """Asked for each symbol wanted: whether the venue does not know it at present, though it trades it."""
        self.rations: Callable[[], bool] = _never
        """Asked for each message: whether it is one too many, though it is within the limits."""

    def knows(self, symbol: str) -> bool:
        """Whether the venue has ``symbol``."""
        return symbol in self.symbols and not self.misses(symbol)

    def is_ping(self, message: bytes) -> bool:
        """Whether a client's message only asks whether anybody is there; some venues do not count these."""
        return False

    def too_many(self, message: bytes, time_ns: int) -> SessionAnswer | None:
        """Return what the venue says to a message beyond its limits, which is not acted upon.

        None: nothing, it ends the connection.
        """
        return None

    def greeting(self, time_ns: int) -> list[bytes]:
        """Return what the venue says first, before it is asked anything."""
        return []

    def opened(self, path: str, query: Mapping[str, str]) -> SessionAnswer:
        """Take the subscriptions that the address asked for already."""
        return SessionAnswer()

    @abstractmethod
    def received(self, message: bytes, time_ns: int) -> SessionAnswer:
        """Take a message of the client's; nothing a client can send raises."""

    def outgoing(self, frame: bytes) -> bytes:
        """Return ``frame`` in the form this client gets it; also notes what later heartbeats repeat."""
        return frame

    def heartbeat(self, time_ns: int, *, idle: bool) -> list[bytes]:
        """Return the heartbeats due at a full second; ``idle``: nothing else was sent for a second."""
        return []

    def _subscribe(self, subscription: VenueSubscription, answer: SessionAnswer) -> None:
        self.subscriptions[subscription.key] = subscription
        answer.added.append(subscription)

    def _unsubscribe(self, key: Key, answer: SessionAnswer) -> bool:
        subscription = self.subscriptions.pop(key, None)
        if subscription is None:
            return False
        answer.removed.append(subscription)
        return True


class Recorded:
    """Makes frames as a recorder got them ready for sessions, one after the other. Most need nothing."""

    def prepare(self, frame: bytes) -> tuple[bytes, int]:
        """Return ``frame`` as any session may send it, and how many before it are missing."""
        return frame, 0


def _never(*_: object) -> bool:
    return False


def _unknown(symbol: str) -> None:
    return None


def encode(message: Mapping[str, Any]) -> bytes:
    """Return ``message`` as the JSON text of a frame."""
    return msgspec.json.encode(message)


def decode_object(message: bytes) -> dict[str, Any] | None:
    """Return the JSON object in ``message``, None if it is anything else."""
    try:
        value = msgspec.json.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def timestamp(time_ns: int) -> str:
    """Return RFC 3339 text with microseconds, as Kraken and Coinbase write times."""
    return f"{_second(time_ns // 1_000_000_000)}.{time_ns // 1000 % 1_000_000:06d}Z"


@lru_cache(maxsize=16)
def _second(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%S")
