"""Errors of the stream's client.

* :exc:`alphapulse.errors.AlphaPulseError`

    * :exc:`ClientError`

        * :exc:`ProtocolError`: the gateway sent what version 2 of the protocol does not allow
        * :exc:`OperationRefused`: the gateway refused an operation; carries its code
        * :exc:`SubscriptionOverlap`: two subscriptions would share a feed
        * :exc:`Disconnected`: the connection was lost before an answer came, or could not be made in time
        * :exc:`ConnectionRefused`: the gateway refused the connection for good; carries the close code or HTTP status

            * :exc:`CredentialsRefused`: credentials are missing, wrong, expired or revoked

        * :exc:`ClientClosed`: used after its ``async with`` block
"""

from __future__ import annotations

from alphapulse.errors import AlphaPulseError


class ClientError(AlphaPulseError):
    """Base of the client's errors."""


class ProtocolError(ClientError):
    """A message of the gateway that the protocol does not allow.

    ``feed`` is (channel, venue, symbol) where the message tells it.
    """

    recoverable = True

    def __init__(self, reason: str, feed: tuple[str, str | None, str | None] | None = None) -> None:
        self.feed = feed
        super().__init__(reason)


class OperationRefused(ClientError):
    """The gateway refused an operation.

    ``code`` is for programs (``unknown_instrument``, ``forbidden``, …), ``reason`` are the gateway's words.
    """

    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"{code}: {reason}")


class SubscriptionOverlap(ClientError):
    """A subscription would share a feed with another one, and a feed of a connection has one set of options."""


class Disconnected(ClientError):
    """The connection was lost before the answer, or could not be made in time."""

    recoverable = True


class ConnectionRefused(ClientError):
    """The gateway said not to come back; ``code`` is its WebSocket close code, or the HTTP status of the handshake."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        super().__init__(f"connection refused for good ({code}): {reason}")


class CredentialsRefused(ConnectionRefused):
    """Credentials are missing, wrong, expired or revoked (close codes 3000 and 3003, HTTP 401 and 403)."""


class ClientClosed(ClientError):
    """The client or the subscription was closed."""
