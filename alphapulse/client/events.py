"""What the session tells the layer that does the I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from alphapulse.client.errors import ClientError
from alphapulse.client.messages import FeedMessage


@dataclass(frozen=True, slots=True)
class Ready:
    """The gateway said hello: the connection is good."""

    gateway: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message for the user of the subscription ``key``."""

    key: int
    message: FeedMessage


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The gateway accepted the subscription ``key``, or added feeds to it."""

    key: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The gateway refused the subscription ``key``: it is over."""

    key: int
    error: ClientError


@dataclass(frozen=True, slots=True)
class Answered:
    """All snapshots asked for by the request ``id``."""

    id: int
    messages: tuple[FeedMessage, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """No answer to the request ``id`` will come."""

    id: int
    error: ClientError


@dataclass(frozen=True, slots=True)
class TokenNeeded:
    """Call ``Session.authenticate`` with a token; ``expires`` (µs) is the present one's end, None without one."""

    expires: int | None


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The gateway accepted the token; ``expires`` in µs, None: never."""

    identity: str
    scopes: tuple[str, ...]
    expires: int | None


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the connection with ``code`` and connect again: it is dead, or what came cannot be read."""

    code: int
    reason: str


Event: TypeAlias = Ready | Delivered | Confirmed | Refused | Answered | Failed | TokenNeeded | Authenticated | HangUp
