"""Which session speaks which venue's protocol."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from alphapulse.errors import ValueRefused
from producers.registry import names, part
from producers.venue_server.session import Recorded, Session
from producers.venues.binance.server import BinanceSession
from producers.venues.coinbase.server import CoinbaseSession
from producers.venues.kraken.server import KrakenSession


@dataclass(frozen=True, slots=True)
class Dialect:
    """A venue as seen from its socket.

    Attributes:
        session: makes the session of a new connection.
        path: of the WebSocket address.
        ping_seconds: how often the venue pings its clients.
        subscribe_seconds: a client that subscribed to nothing within this time is sent away.
        key: an account's key and secret that opens it, where the venue wants one.
        recorded: makes what makes a recording's frames ready for sessions.
        recorded_path: of the address of a recording, where ``path`` has limits that the recorder's may not have had.
    """

    session: Callable[[Collection[str]], Session]
    path: str = ""
    ping_seconds: float | None = None
    subscribe_seconds: float | None = None
    key: str = ""
    recorded: Callable[[], Recorded] = Recorded
    recorded_path: str | None = None


DIALECTS: dict[str, Dialect] = {
    "kraken": Dialect(KrakenSession, path="/v2"),
    "coinbase": Dialect(CoinbaseSession, subscribe_seconds=5.0),
    "binance": Dialect(BinanceSession, ping_seconds=20.0),
    "binance_us": Dialect(BinanceSession, ping_seconds=180.0),
}


def dialect(venue: str) -> Dialect:
    """Return the dialect of ``venue``: from the table above, or ``DIALECT`` of the ``server.py`` in its folder.

    Raises:
        ValueRefused: there is none.
    """
    known = DIALECTS.get(venue)
    if known is not None:
        return known
    module = part(venue, "server")
    if module is None:
        raise ValueRefused(f"unknown venue: {venue[:80]!r} (known: {', '.join(served())})")
    found: Dialect = module.DIALECT
    return found


def served() -> list[str]:
    """Return the names of the venues that have a dialect."""
    return [name for name in names() if name in DIALECTS or part(name, "server") is not None]
