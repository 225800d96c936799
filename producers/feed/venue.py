"""Description of a venue: addresses, limits and capabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from alphapulse.config import VenueSettings
from alphapulse.errors import ValueRefused
from producers.feed.protocol import VenueProtocol


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``amount`` actions (or their weights) in any ``seconds``."""

    amount: float
    seconds: float


CAREFUL_CONNECTS: Final = Limit(10, 10.0)
"""Default for venues that publish no limit."""


def one(path: str) -> float:
    """Weight of a REST request: always 1."""
    return 1.0


def no_matter(name: str) -> None:
    """Ignore the name."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A venue's list of instruments.

    Attributes:
        path: of the list, appended to the REST address.
        parse: returns the canonical symbols of the traded instruments from the answer's body; the callable receives
            each name that has no canonical symbol and is left out.

            Raises:
                FrameRefused: the body is not such a list.
    """

    path: str
    parse: Callable[[bytes, Callable[[str], None]], Sequence[str]]


def canonical(
    names: Iterable[str], symbol_of: Callable[[str], str], left_out: Callable[[str], None] = no_matter
) -> list[str]:
    """Return the canonical symbols of a venue's ``names``, without duplicates; ``left_out`` receives the others."""
    found: dict[str, None] = {}
    for name in names:
        try:
            found[symbol_of(name)] = None
        except ValueRefused:
            left_out(name)
    return list(found)


@dataclass(frozen=True, slots=True)
class Venue:
    """Description of a venue.

    Attributes:
        websocket_url, rest_url: its public addresses.
        protocol: makes the protocol for settings.

            Raises:
                ConfigError: the venue does not support the settings.
        silence_seconds: a connection without a message for this long is closed; ``inf`` where silence is normal and the
            protocol detects faults itself (:meth:`VenueProtocol.overdue`).
        pinged: whether the venue's own WebSocket pings are its heartbeats, and so prove the connection alive.
        ping_seconds: interval of WebSocket pings to the venue; None where it does not want them.
        text_ping: text message sent every ``ping_seconds`` instead of WebSocket pings, where the venue wants that.
        messages_per_second: rate limit for messages per connection, or for all together if ``messages_by_address``.
        requests: limit of requests per connection besides pings, over a longer time; a connection that exhausts it is
            replaced.
        frame_bytes: maximum frame size.
        instrument_silence_seconds: an instrument without messages for this long, on a live connection, is verified;
            None where the protocol detects overdue messages itself.
        symbols_per_connection: maximum symbols per connection.
        connections_limit: maximum concurrent connections; with 1 a connection is closed before the next one opens.
        connects: rate limit for new connections.
        reconnect_hours: a connection is replaced at this age, before the venue closes it; None: it does not.
        rest_limit, rest_weight: rate limit for REST requests, and the weight of a request's path.
        listing: the venue's list of instruments, for patterns; None: patterns cannot be used.
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
