"""What a session needs of the access control. Pure."""

from __future__ import annotations

from typing import Final, Protocol

from gateway.access.identity import EVERYONE, Identity


class Gate(Protocol):
    """Interface of the access control to sessions."""

    @property
    def open(self) -> bool:
        """Whether clients without credentials are admitted."""
        ...

    def identify(self, credentials: str, address: str) -> Identity:
        """Return the identity behind credentials (a token or an API key), sent from ``address``.

        Raises:
            RequestRefused: there is none, or it is refused now; code and message say why.
        """
        ...


class OpenGate:
    """Admits everybody as ``EVERYONE``."""

    open: Final = True

    def identify(self, credentials: str, address: str) -> Identity:
        """Return ``EVERYONE``: credentials have no meaning here."""
        return EVERYONE


def credentials_of(authorization: str | None) -> str | None:
    """Return the credentials in an ``Authorization`` header (``Bearer …``); None: there are none."""
    scheme, _, credentials = (authorization or "").strip().partition(" ")
    return credentials.strip() or None if scheme.lower() == "bearer" else None
