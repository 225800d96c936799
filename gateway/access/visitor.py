"""A client of the stream, as the gate sees it: one for each connection."""

from __future__ import annotations

from alphapulse.errors import RequestRefused
from gateway.access.address import ClientAddress
from gateway.access.errors import UNAUTHORIZED_CODE, AccessRefused
from gateway.access.gate import Admission, Gate
from gateway.access.identity import EVERYONE, Identity


class Visitor:
    """Who is behind a connection.

    Made where a connection is accepted; :meth:`leave` when it ends.

    Args:
        identity: None: it has still to authenticate, in the stream's first message.

    Raises:
        AccessRefused: code ``connection_limit``.
    """

    def __init__(self, gate: Gate, identity: Identity | None, address: ClientAddress) -> None:
        self._gate = gate
        self._address = address
        self.identity: Identity | None = None
        self._seat = Admission.none()
        self._place = gate.admit_address(address)
        if identity is not None:
            try:
                self._become(identity)
            except AccessRefused:
                self._place.release()
                raise

    @property
    def open(self) -> bool:
        """Whether clients without credentials are let in."""
        return self._gate.open

    def identify(self, credentials: str, address: str = "") -> Identity:
        """Return whom ``credentials`` identify, who from now on is behind the connection.

        Raises:
            AccessRefused: they are refused, or the identity has too many connections; nothing has changed then.
        """
        identity = self._gate.identify(credentials, address or self._address.text)
        self._become(identity)
        return identity

    def _become(self, identity: Identity) -> None:
        if self.identity is None or not self.identity.same_as(identity):
            seat = self._gate.admit_identity(identity, self._address.text)
            self._seat.release()
            self._seat = seat
        self.identity = identity

    def stream(self, channel: str, venue: str | None) -> None:
        """Check that the client may stream a channel of a venue (None: of all at once).

        Raises:
            AccessRefused: code ``forbidden``, or ``unauthorized`` for a client that has not authenticated.
        """
        if self.identity is None:
            raise AccessRefused(UNAUTHORIZED_CODE, "credentials are required")
        self._gate.stream(self.identity, channel, venue, self._address.text)

    def forbidden(self, refused: RequestRefused) -> None:
        """Write into the audit log that the client asked for what it may not see."""
        self._gate.forbidden(self.identity or EVERYONE, refused, self._address.text)

    def message(self) -> None:
        """Charge one message of the client.

        Raises:
            AccessRefused: code ``rate_limited``.
        """
        self._gate.message(self.identity or EVERYONE, self._address)

    def check(self) -> None:
        """Check that the client still is who it was; call it about once a second.

        Raises:
            AccessRefused: its token or key has expired, or its key was revoked.
        """
        if self.identity is not None:
            self._gate.check(self.identity)

    def leave(self) -> None:
        """Give the connection's places back, once."""
        self._seat.release()
        self._place.release()
