"""Dialects: how each venue's protocol is served (``DIALECT`` of the ``server.py`` in its folder)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from alphapulse.errors import ValueRefused
from producers.registry import names, part
from producers.venue_server.frames import FrameClassifier
from producers.venue_server.session import Recorded, VenueSession, encode


def no_fault(path: str, query: Mapping[str, str], symbols: Collection[str]) -> bytes | None:
    """Accept every request."""
    return None


def plain_refusal(status: int) -> bytes:
    """Return a generic body for ``status``, where the venue's own is not known."""
    return encode({"error": f"refused with status {status}"})


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a venue's protocol is served.

    Attributes:
        session: makes the session of a new connection.
        classify: returns the class of a recorded frame.
        path: path of the WebSocket address.
        ping_seconds: interval of the venue's pings to its clients.
        subscribe_seconds: a client without a subscription is disconnected after this time.
        key: key and secret of an account, where the venue requires them.
        recorded: makes the preparation of a recording's frames for sessions.
        recorded_path: path of the address for a replay, where ``path`` has limits that the recorder may not have had.
        depths: levels per side on offer, where a client chooses and levels that leave the chosen depth are never
            deleted: a replay then has to find out the recorder's choice.
        snapshot_path: prefix of the paths of REST requests for books, if any; a recording without one is served
            like an overloaded venue.
        rest_fault: returns the body of the refusal (status 400) of an invalid request; None: the request is valid.
        rest_refusal: returns the body sent with a status for a valid request.
    """

    session: Callable[[Collection[str]], VenueSession]
    classify: FrameClassifier
    path: str = ""
    ping_seconds: float | None = None
    subscribe_seconds: float | None = None
    key: str = ""
    recorded: Callable[[], Recorded] = Recorded
    recorded_path: str | None = None
    depths: tuple[int, ...] = ()
    snapshot_path: str | None = None
    rest_fault: Callable[[str, Mapping[str, str], Collection[str]], bytes | None] = no_fault
    rest_refusal: Callable[[int], bytes] = plain_refusal


def dialect(venue: str) -> Dialect:
    """Return the dialect of ``venue``.

    Raises:
        ValueRefused: it has none.
    """
    module = part(venue, "server")
    if module is None:
        raise ValueRefused(f"unknown venue: {venue[:80]!r} (known: {', '.join(served())})")
    found: Dialect = module.DIALECT
    return found


def served() -> list[str]:
    """Return the names of the venues that have a dialect."""
    return [name for name in names() if part(name, "server") is not None]
