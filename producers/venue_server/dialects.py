"""The dialects: how each venue's end of its protocol is served (``DIALECT`` of the ``server.py`` in its folder)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from alphapulse.errors import ValueRefused
from producers.registry import names, part
from producers.venue_server.frames import FrameClassifier
from producers.venue_server.session import Recorded, Session, encode


def no_fault(path: str, query: Mapping[str, str], symbols: Collection[str]) -> bytes | None:
    """Find nothing wrong with a request."""
    return None


def plain_refusal(status: int) -> bytes:
    """Return a body for ``status``, where the venue's own is not known."""
    return encode({"error": f"refused with status {status}"})


@dataclass(frozen=True, slots=True)
class Dialect:
    """A venue as seen from its socket.

    Attributes:
        session: makes the session of a new connection.
        classify: says what a recorded frame is about.
        path: of the WebSocket address.
        ping_seconds: how often the venue pings its clients.
        subscribe_seconds: a client that subscribed to nothing within this time is sent away.
        key: an account's key and secret that opens it, where the venue wants one.
        recorded: makes what makes a recording's frames ready for sessions.
        recorded_path: of the address of a recording, where ``path`` has limits that the recorder's may not have had.
        depths: levels a side on offer, where a client chooses and what falls out of the chosen depth is never deleted:
            then a replay has to find out what the recorder had chosen.
        snapshot_path: what the paths of REST requests for books begin with, where there are such; a recording without
            any of them is served as a venue that is overloaded.
        rest_fault: returns the body of the refusal (status 400) of a request that is wrong in itself; None: it is not.
        rest_refusal: returns the body that comes with a status where nothing is wrong with the request.
    """

    session: Callable[[Collection[str]], Session]
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
        ValueRefused: there is none.
    """
    module = part(venue, "server")
    if module is None:
        raise ValueRefused(f"unknown venue: {venue[:80]!r} (known: {', '.join(served())})")
    found: Dialect = module.DIALECT
    return found


def served() -> list[str]:
    """Return the names of the venues that have a dialect."""
    return [name for name in names() if part(name, "server") is not None]
