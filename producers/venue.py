"""What the collector has to know of a venue besides its protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from alphapulse.config import VenueSettings
from producers.protocol import VenueProtocol


@dataclass(frozen=True, slots=True)
class Venue:
    """A venue's addresses and limits.

    Attributes:
        websocket_url, rest_url: its public addresses.
        protocol: makes the protocol for settings.

            Raises:
                ConfigError: the venue does not offer what the settings ask for.
        silence_seconds: without any frame for so long a connection is taken for dead; ``inf`` where silence is normal
            and the protocol itself knows when it is not (:meth:`VenueProtocol.overdue`).
        ping_seconds: how often to send a WebSocket ping; None where the venue does not want them.
        text_ping: sent as a text message every ``ping_seconds`` in place of WebSocket pings, where it wants that.
        messages_per_second: what may be sent on a connection.
        frame_bytes: the largest frame to expect.
    """

    name: str
    websocket_url: str
    protocol: Callable[[VenueSettings], VenueProtocol]
    rest_url: str | None = None
    silence_seconds: float = 30.0
    ping_seconds: float | None = 20.0
    text_ping: str | None = None
    messages_per_second: float = 5.0
    frame_bytes: int = 64 * 2**20
