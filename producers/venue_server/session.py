"""Session of one client: its subscriptions and the venue's answers. Pure.

A session receives the client's messages and the time, and returns :class:`SessionAnswer`. It is independent of the
source of the market data (a recording or a simulated market).
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
"""Feeds that clients subscribe to for their data."""

Key = tuple[str, str]
"""(feed, venue's symbol): the subject of a subscription and of a frame. Feeds without a constant above have the venue's
own name; the symbol is empty where the feed has none."""


@dataclass(frozen=True, slots=True)
class VenueSubscription:
    """A subscription of a client.

    Attributes:
        feed: one of the constants above, or the venue's name of another channel.
        symbol: in the venue's spelling; empty where the channel has none.
        channel: the venue's name of the channel.
        depth: levels requested, 0 where the venue offers no choice.
        snapshot: whether the current state was requested as well.
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
    """Answer to a message: frames to send first, then subscriptions made and ended."""

    replies: list[bytes] = field(default_factory=list)
    added: list[VenueSubscription] = field(default_factory=list)
    removed: list[VenueSubscription] = field(default_factory=list)


class VenueSession(ABC):
    """Session of one client at a venue.

    Args:
        symbols: symbols traded there, in the venue's spelling.
    """

    numbers_frames = False
    """Whether :meth:`outgoing` numbers the frames of one client; if so, it is called before faults are applied."""

    def __init__(self, symbols: Collection[str]) -> None:
        self.symbols = frozenset(symbols)
        self.subscriptions: dict[Key, VenueSubscription] = {}
        self.next_number = 0
        """Number of the next frame to this client, where the venue numbers frames; a skipped one appears lost."""
        self.refuses: Callable[[Key], bool] = _never
        """Called for each new subscription: whether the venue refuses it although it is valid."""
        self.last_trade: Callable[[str], tuple[int, int] | None] = _unknown
        """Called for heartbeats with a symbol's last trade and message number; None: only frames sent are known."""
        self.misses: Callable[[str], bool] = _never
        """Called for each symbol requested: whether the venue currently does not know it although it is traded."""
        self.rations: Callable[[], bool] = _never
        """Called for each message: whether to treat it as exceeding the rate limit although it does not."""

    def knows(self, symbol: str) -> bool:
        """Whether ``symbol`` is traded."""
        return symbol in self.symbols and not self.misses(symbol)

    def is_ping(self, message: bytes) -> bool:
        """Whether a client's message is a ping; some venues do not count these."""
        return False

    def too_many(self, message: bytes, time_ns: int) -> SessionAnswer | None:
        """Return the answer to a message beyond the limits, which is not acted upon.

        None: the venue closes the connection without an answer.
        """
        return None

    def greeting(self, time_ns: int) -> list[bytes]:
        """Return the frames sent when a client connects."""
        return []

    def opened(self, path: str, query: Mapping[str, str]) -> SessionAnswer:
        """Apply the subscriptions in the address."""
        return SessionAnswer()

    @abstractmethod
    def received(self, message: bytes, time_ns: int) -> SessionAnswer:
        """Process a client's message; no message can make it raise."""

    def outgoing(self, frame: bytes) -> bytes:
        """Return ``frame`` in the form for this client; also records what later heartbeats repeat."""
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
    """Prepares recorded frames for sessions, in order. Most venues need no preparation."""

    def prepare(self, frame: bytes) -> tuple[bytes, int]:
        """Return ``frame`` as any session may send it, and how many frames before it are missing."""
        return frame, 0


def _never(*_: object) -> bool:
    return False


def _unknown(symbol: str) -> None:
    return None


def encode(message: Mapping[str, Any]) -> bytes:
    """Return ``message`` as JSON text."""
    return msgspec.json.encode(message)


def decode_object(message: bytes) -> dict[str, Any] | None:
    """Return the JSON object in ``message``; None if it is anything else."""
    try:
        value = msgspec.json.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def timestamp(time_ns: int) -> str:
    """Return the time as RFC 3339 text with microseconds, as Kraken and Coinbase write it."""
    return f"{_second(time_ns // 1_000_000_000)}.{time_ns // 1000 % 1_000_000:06d}Z"


@lru_cache(maxsize=16)
def _second(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%S")
