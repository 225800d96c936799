"""What the collector has to know of a venue besides its protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from alphapulse.config import VenueSettings
from alphapulse.errors import ValueRefused
from producers.feed.protocol import VenueProtocol


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``amount`` (actions, or their weights) in any ``seconds``."""

    amount: float
    seconds: float


CAREFUL_CONNECTS: Final = Limit(10, 10.0)
"""For venues that state no limit of their own."""


def one(path: str) -> float:
    """Weigh every REST request the same."""
    return 1.0


def no_matter(name: str) -> None:
    """Take note of nothing."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Where a venue lists its instruments.

    Attributes:
        path: of the list, behind the REST address.
        parse: returns the canonical symbols that are traded, from the answer's body; the callable is told each name
            that has no canonical symbol, and so is left out.

            Raises:
                FrameRefused: it is no such list.
    """

    path: str
    parse: Callable[[bytes, Callable[[str], None]], Sequence[str]]


def canonical(
    names: Iterable[str], symbol_of: Callable[[str], str], left_out: Callable[[str], None] = no_matter
) -> list[str]:
    """Return the canonical symbols of a venue's ``names``, each once; ``left_out`` is told those that have none."""
    found: dict[str, None] = {}
    for name in names:
        try:
            found[symbol_of(name)] = None
        except ValueRefused:
            left_out(name)
    return list(found)


@dataclass(frozen=True, slots=True)
class Venue:
    """A venue's addresses and limits.

    Attributes:
        websocket_url, rest_url: its public addresses.
        protocol: makes the protocol for settings.

            Raises:
                ConfigError: the venue does not offer what the settings ask for.
        silence_seconds: without any message for so long a connection is taken for dead; ``inf`` where silence is normal
            and the protocol itself knows when it is not (:meth:`VenueProtocol.overdue`).
        pinged: whether the venue's own WebSocket pings are its heartbeats, and so prove the connection alive.
        ping_seconds: how often to send a WebSocket ping; None where the venue does not want them.
        text_ping: sent as a text message every ``ping_seconds`` in place of WebSocket pings, where it wants that.
        messages_per_second: what may be sent on a connection, or on all together where ``messages_by_address``.
        requests: what may be sent on a connection besides pings, in a longer time; a connection on which more is to be
            sent makes way for a new one.
        frame_bytes: the largest frame to expect.
        instrument_silence_seconds: an instrument of which nothing comes for so long, while its connection lives, is
            asked for again; None where the protocol itself knows when it is overdue.
        symbols_per_connection: what one connection is trusted with.
        connections_limit: connections allowed at a time; with 1 a connection ends before the next one begins.
        connects: how often one may connect.
        reconnect_hours: a connection is replaced at this age, before the venue ends it; None: it does not.
        rest_limit, rest_weight: REST requests allowed, and what a request's path counts.
        listing: the venue's instruments, for patterns; None: patterns cannot be resolved.
    """

    name: str
    websocket_url: str
    protocol: Callable[[VenueSettings], VenueProtocol]
    rest_url: str | None = None
    silence_seconds: float = 30.0
    pinged: bool = False
    ping_seconds: float | None = 20.0
    text_ping: str | None = None
    messages_per_second: float = 5.0
    messages_by_address: bool = False
    requests: Limit | None = None
    frame_bytes: int = 64 * 2**20
    instrument_silence_seconds: float | None = 300.0
    symbols_per_connection: int = 100
    connections_limit: int | None = None
    connects: Limit = CAREFUL_CONNECTS
    reconnect_hours: float | None = None
    rest_limit: Limit | None = None
    rest_weight: Callable[[str], float] = one
    listing: Listing | None = None
