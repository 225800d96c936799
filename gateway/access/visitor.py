"""A client of the stream, as the gate sees it: one for each connection."""

from __future__ import annotations

from gateway.access.address import ClientAddress
from gateway.access.gate import Gate
from gateway.access.identity import Identity


class Visitor:
    """Who is behind a connection.

    Made where a connection is accepted; :meth:`leave` when it ends.

    Raises:
        AccessRefused: code ``connection_limit``.
    """

    def __init__(self, gate: Gate, identity: Identity, address: ClientAddress) -> None:
        self._gate = gate
        self.identity = identity
        self.address = address
        self._admission = gate.admit(identity, address)

    def stream(self, channel: str, venue: str | None) -> None:
        """Check that the client may stream a channel of a venue (None: of all at once).

        Raises:
            AccessRefused: code ``forbidden``.
        """
        self._gate.stream(self.identity, channel, venue, self.address.text)

    def message(self) -> None:
        """Charge one message of the client.

        Raises:
            AccessRefused: code ``rate_limited``.
        """
        self._gate.message(self.identity, self.address)

    def check(self) -> None:
        """Check that the client still is who it was; call it about once a second.

        Raises:
            AccessRefused: its token or key has expired, or its key was revoked.
        """
        self._gate.check(self.identity)

    def leave(self) -> None:
        """Give the connection's place back, once."""
        self._admission.release()
