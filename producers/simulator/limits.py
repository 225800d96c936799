"""Client limits of a venue, enforced as the venue does. All clients have the same address: loopback.

Where a venue does not say whether an interval slides or starts at full minutes, it slides here, the stricter variant;
bursts tolerated above a rate are not granted. This is independent of :mod:`producers.net.rate_limit`, which the
collector uses to keep the limits, so that a fault in one shows up in the other.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Final, NamedTuple

from producers.feed.venue import Limit
from producers.venue_server.listener import ClientConnection

Weigh = Callable[[str, Mapping[str, str]], float]
Refuse = Callable[[int], bytes]


def one(path: str, query: Mapping[str, str]) -> float:
    """Weight of a REST request: always 1."""
    return 1.0


def plain(status: int) -> bytes:
    """Return the body of a refusal where the venue documents none."""
    return b'{"message":"Too many requests"}'


@dataclass(frozen=True, slots=True)
class VenueLimits:
    """Limits of a venue; None: no limit, or not documented.

    Attributes:
        messages: rate limit for a client's messages. Excess is answered by the session, or closes the connection.
        messages_by_address: whether all connections share the message limit.
        pings_count: whether pings and pongs count as messages.
        requests: second, longer limit for subscriptions and the like on a connection; pings do not count.
        connects: rate limit for new connections.
        ban_seconds: duration of the ban after too many connects; 0: until the rate allows it.
        connections: maximum concurrent connections that are served; the session refuses further ones.
        linger_seconds: a connection lost without a Close frame still counts for this long.
        idle_seconds: a connection without messages for this long is closed.
        life_seconds: a connection is closed at this age.
        rest: rate limit for REST requests, or their weights.
        rest_weight: weight of a request's path and query.
        rest_refusal: body sent with a refusal status.
        used_header: name of the header with the used weight.
        patience: number of requests refused with 429 before the address is banned with 418; None: no ban.
    """

    messages: Limit | None = None
    messages_by_address: bool = False
    pings_count: bool = False
    requests: Limit | None = None
    connects: Limit | None = None
    ban_seconds: float = 0.0
    connections: int | None = None
    linger_seconds: float = 0.0
    idle_seconds: float | None = None
    life_seconds: float | None = None
    rest: Limit | None = None
    rest_weight: Weigh = one
    rest_refusal: Refuse = plain
    used_header: str = ""
    patience: int | None = None

    def scaled(self, factor: float) -> VenueLimits:
        """Return limits ``factor`` times as generous: the same amount in a shorter time. 0: no limits."""
        if not factor:
            return VenueLimits()

        def shorter(limit: Limit | None) -> Limit | None:
            return Limit(limit.amount, limit.seconds / factor) if limit is not None else None

        return replace(
            self,
            messages=shorter(self.messages),
            requests=shorter(self.requests),
            connects=shorter(self.connects),
            ban_seconds=self.ban_seconds / factor,
            linger_seconds=self.linger_seconds / factor,
            rest=shorter(self.rest),
        )


class _Log:
    """Usage in a sliding window."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.used = 0.0
        self._log: deque[tuple[float, float]] = deque()

    def take(self, now: float, amount: float = 1.0) -> bool:
        """Use ``amount`` if that much is left; return whether it was."""
        self.look(now)
        if self.used + amount > self.limit.amount:
            return False
        self._log.append((now, amount))
        self.used += amount
        return True

    def look(self, now: float) -> None:
        while self._log and self._log[0][0] <= now - self.limit.seconds:
            self.used -= self._log.popleft()[1]

    def wait(self, now: float, amount: float = 1.0) -> float:
        """Return the seconds until ``amount`` is left."""
        excess, wait = self.used + amount - self.limit.amount, 0.0
        for time, spent in self._log:
            if excess <= 0:
                break
            excess -= spent
            wait = time + self.limit.seconds - now
        return wait


@dataclass(slots=True)
class _Times:
    """When a connection was opened, and when the last message was sent on it."""

    opened: float
    last: float


class LimitVerdict(NamedTuple):
    """Result of a REST request: 200, or a refusal status and the seconds until a retry."""

    status: int
    retry_after: float
    headers: Mapping[str, str]


_FIRST_BAN_SECONDS: Final = 120.0
_LONGEST_BAN_SECONDS: Final = 3 * 86_400.0
"""Bans grow for repeated offenders: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/limits"""


class Limiter:
    """Enforces limits.

    Args:
        limits: the limits.
        clock: monotonic seconds.

    Attributes:
        refused: number of refusals by kind.
    """

    def __init__(self, limits: VenueLimits, clock: Callable[[], float]) -> None:
        self.limits = limits
        self.pings_count = limits.pings_count
        self.refused: Counter[str] = Counter()
        self._clock = clock
        self._connects = _Log(limits.connects) if limits.connects is not None else None
        self._rest = _Log(limits.rest) if limits.rest is not None else None
        self._messages: dict[ClientConnection | None, _Log] = {}
        self._requests: dict[ClientConnection, _Log] = {}
        self._connections: dict[ClientConnection, _Times] = {}
        self._lingering: list[float] = []  # times until which lost connections count
        self._banned_until = self._rest_banned_until = 0.0
        self._bans = self._impatience = 0

    # --- Guard: connections ---

    def connecting(self) -> float:
        """Return the seconds until a client may connect; 0: now, and the connection is counted."""
        now = self._clock()
        if now < self._banned_until:
            self.refused["connect"] += 1
            return self._banned_until - now
        if self._connects is None or self._connects.take(now):
            return 0.0
        self.refused["connect"] += 1
        wait = self.limits.ban_seconds or self._connects.wait(now)
        if self.limits.ban_seconds:
            self._banned_until = now + wait
        return wait

    def heard(self, connection: ClientConnection, *, control: bool = False, ping: bool = False) -> bool:
        """Whether a client's message is within the limits.

        Args:
            connection: of the client.
            control: a WebSocket ping or pong.
            ping: a venue's own ping, as a text message.
        """
        now, limits = self._clock(), self.limits
        self.told(connection)
        if limits.messages is not None and (limits.pings_count or not control):
            log = self._messages.setdefault(None if limits.messages_by_address else connection, _Log(limits.messages))
            if not log.take(now):
                self.refused["message"] += 1
                return False
        if limits.requests is not None and not control and not ping:
            log = self._requests.setdefault(connection, _Log(limits.requests))
            if not log.take(now):
                self.refused["request"] += 1
                return False
        return True

    def connected(self, connection: ClientConnection) -> None:
        now = self._clock()
        self._connections[connection] = _Times(now, now)

    def disconnected(self, connection: ClientConnection, *, lost: bool = False) -> None:
        """Handle a closed connection; no effect if already handled. ``lost``: without a Close frame."""
        if self._connections.pop(connection, None) is not None and lost:
            self._lingering.append(self._clock() + self.limits.linger_seconds)
        self._messages.pop(connection, None)
        self._requests.pop(connection, None)

    def crowded_out(self, connection: ClientConnection) -> bool:
        """Whether the limit of connections was reached by older ones."""
        most = self.limits.connections
        if most is None:
            return False
        now = self._clock()
        self._lingering = [until for until in self._lingering if until > now]
        if connection in list(self._connections)[: max(most - len(self._lingering), 0)]:
            return False
        self.refused["connection"] += 1
        return True

    def told(self, connection: ClientConnection) -> None:
        """Record that a message was sent on a connection."""
        times = self._connections.get(connection)
        if times is not None:
            times.last = self._clock()

    def overdue(self) -> list[ClientConnection]:
        """Return the connections to close because they are idle or too old."""
        now, limits = self._clock(), self.limits
        silent = now - limits.idle_seconds if limits.idle_seconds is not None else -inf
        old = now - limits.life_seconds if limits.life_seconds is not None else -inf
        found = [one for one, times in self._connections.items() if times.last < silent or times.opened < old]
        if found:
            self.refused["stay"] += len(found)
        return found

    # --- REST ---

    def rest(self, path: str, query: Mapping[str, str]) -> LimitVerdict:
        """Count a request and return its result."""
        now = self._clock()
        if now < self._rest_banned_until:
            self.refused["rest_banned"] += 1
            return LimitVerdict(418, self._rest_banned_until - now, {})
        log = self._rest
        if log is None:
            return LimitVerdict(200, 0.0, {})
        weight = self.limits.rest_weight(path, query)
        if log.take(now, weight):
            self._impatience = 0
            return LimitVerdict(200, 0.0, self._used(log))
        self.refused["rest"] += 1
        self._impatience += 1
        if self.limits.patience is not None and self._impatience > self.limits.patience:
            seconds = min(_FIRST_BAN_SECONDS * 2**self._bans, _LONGEST_BAN_SECONDS)
            self._bans += 1
            self._impatience = 0
            self._rest_banned_until = now + seconds
            return LimitVerdict(418, seconds, self._used(log))
        return LimitVerdict(429, log.wait(now, weight), self._used(log))

    def _used(self, log: _Log) -> dict[str, str]:
        return {self.limits.used_header: f"{log.used:.0f}"} if self.limits.used_header else {}
