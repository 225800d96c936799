"""Classification of recorded frames by subscription or REST request. Pure.

Only the fields needed for that are read; the collector checks the values. Each venue classifies its own frames
(``classify`` of its ``server.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from alphapulse.errors import FrameRefused
from producers.venue_server.session import Key

_T = TypeVar("_T")

RestKey: TypeAlias = tuple[str, str]
"""(path, symbol): requests that differ only in other parameters (limit) are equal."""


@dataclass(frozen=True, slots=True)
class FrameClass:
    """Class of a frame.

    Attributes:
        keys: the subscriptions it belongs to; none for an answer to a client's message.
        rest: the request that it answers; None for a WebSocket frame.
        body: of that answer.
        depth: levels per side of the book subscription that the venue confirms; 0: none confirmed.
        levels: number of levels of a book snapshot's longer side; 0: not a snapshot.
        conversation: whether it answers the recorder itself; it is not replayed, since each client gets its own
            answers.
    """

    keys: tuple[Key, ...] = ()
    rest: RestKey | None = None
    body: bytes = b""
    depth: int = 0
    levels: int = 0
    conversation: bool = False


FrameClassifier: TypeAlias = Callable[[bytes], FrameClass]
"""Returns the class of a frame; raises FrameRefused with a reason."""


def rest_key(target: str) -> RestKey:
    """Return the key of a request for ``path?query``."""
    parts = urlsplit(target)
    return parts.path, dict(parse_qsl(parts.query)).get("symbol", "").upper()


class RecordedFrame(Struct):
    """A frame of a recording, possibly an answer to a REST request (``rest``: its path and query)."""

    rest: str | UnsetType = UNSET
    body: Raw | UnsetType = UNSET


def rest_answer(frame: RecordedFrame) -> FrameClass | None:
    """Return the class of a REST answer; None for a WebSocket frame.

    Raises:
        FrameRefused: it has no body.
    """
    if frame.rest is UNSET:
        return None
    if frame.body is UNSET:
        raise FrameRefused("rest", f"answer to {frame.rest} without body")
    return FrameClass(rest=rest_key(frame.rest), body=bytes(frame.body))


def decode(venue: str, decoder: msgspec.json.Decoder[_T], data: bytes | Raw) -> _T:
    """Decode ``data`` with ``decoder``.

    Raises:
        FrameRefused: not JSON, or JSON of another shape.
    """
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise FrameRefused(venue, f"unknown shape: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FrameRefused(venue, f"no JSON: {error}") from error
