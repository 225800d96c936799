"""Frame classification: what a recorded frame is about, so that it can be served to whom it concerns. Pure.

Only so much of a frame is read as that needs: which subscription it belongs to, or which request it answers. Whether
its prices make sense is the collector's concern. Each venue classifies its own frames (``classify`` of its
``server.py``).
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
"""(path, symbol): requests that differ in other parameters (limit) are the same one."""


@dataclass(frozen=True, slots=True)
class FrameClass:
    """What a frame is about.

    Attributes:
        keys: the subscriptions it belongs to; none for an answer to a message of the client's.
        rest: the request that it answers, None for a frame of the socket.
        body: of that answer.
        depth: levels a side that the venue confirms a book subscription of; 0: the frame confirms none.
        levels: of the longer side of a book snapshot; 0: it is none.
        conversation: it is the venue's part of a talk with the recorder that each client leads for itself: not sent.
    """

    keys: tuple[Key, ...] = ()
    rest: RestKey | None = None
    body: bytes = b""
    depth: int = 0
    levels: int = 0
    conversation: bool = False


FrameClassifier: TypeAlias = Callable[[bytes], FrameClass]
"""Classifies a frame; raises FrameRefused with a reason."""


def rest_key(target: str) -> RestKey:
    """Return the key of a request's ``path?query``."""
    parts = urlsplit(target)
    return parts.path, dict(parse_qsl(parts.query)).get("symbol", "").upper()


class RecordedFrame(Struct):
    """A frame of a recording: perhaps an answer to a REST request (``rest``: its path and query)."""

    rest: str | UnsetType = UNSET
    body: Raw | UnsetType = UNSET


def rest_answer(frame: RecordedFrame) -> FrameClass | None:
    """Return the class of a REST answer; None for a frame of the socket.

    Raises:
        FrameRefused: it has no body.
    """
    if frame.rest is UNSET:
        return None
    if frame.body is UNSET:
        raise FrameRefused("rest", f"answer to {frame.rest} without body")
    return FrameClass(rest=rest_key(frame.rest), body=bytes(frame.body))


def decode(venue: str, decoder: msgspec.json.Decoder[_T], data: bytes | Raw) -> _T:
    """Return what ``decoder`` makes of ``data``.

    Raises:
        FrameRefused: it is no JSON, or of another shape.
    """
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise FrameRefused(venue, f"unknown shape: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FrameRefused(venue, f"no JSON: {error}") from error
