"""What a session needs of the access control; :class:`gateway.access.visitor.Visitor` is it. Pure."""

from __future__ import annotations

from typing import Protocol

from alphapulse.errors import RequestRefused
from gateway.access.identity import EVERYONE, Identity


class Gate(Protocol):
    """Interface of the access control to the session of one client."""

    @property
    def open(self) -> bool:
        """Whether clients without credentials are admitted."""
        ...

    def identify(self, credentials: str, address: str) -> Identity:
        """Return the identity behind credentials (a token or an API key), sent from ``address``.

        Raises:
            RequestRefused: there is none, or it is refused now; code and message say why. With ``retry_after_ms``, the
                same credentials may be accepted later.
        """
        ...

    def message(self) -> None:
        """Charge one message of the client.

        Raises:
            RequestRefused: code ``rate_limited``, with ``retry_after_ms``.
        """
        ...

    def forbidden(self, refused: RequestRefused) -> None:
        """Write down that the client asked for what it may not see."""
        ...

    def check(self) -> None:
        """Check that the client still is who it was.

        Raises:
            AccessRefused: its token or key has expired, or its key was revoked.
        """
        ...


class OpenGate:
    """Admits everybody as ``EVERYONE``."""

    open = True

    def identify(self, credentials: str, address: str) -> Identity:
        """Return ``EVERYONE``: credentials have no meaning here."""
        return EVERYONE

    def message(self) -> None:
        """Charge nothing."""

    def forbidden(self, refused: RequestRefused) -> None:
        """Write down nothing."""

    def check(self) -> None:
        """Everyone stays everyone."""
