"""Encodings of the messages: JSON text and MessagePack, chosen by WebSocket subprotocol. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, Self, TypeAlias

import msgspec
import orjson
from websockets.frames import Opcode

from alphapulse.errors import RequestRefused
from gateway.wire import frame_of


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise RequestRefused("bad_json", f"not JSON: {error}, found {text[:80]!r}") from error


def _msgpack(data: bytes) -> Any:
    try:
        return msgspec.msgpack.decode(data)
    except (
        msgspec.DecodeError,
        ValueError,
        RecursionError,
    ) as error:  # ValueError: a map with a key twice or a bad text
        raise RequestRefused("bad_msgpack", f"not MessagePack: {error}, found {data[:40]!r}") from error


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """An encoding.

    Attributes:
        name: of the subprotocol.
        packed: whether levels are mantissas instead of decimal text.
        encode: returns a message's bytes.
        opcode: of its WebSocket messages.
        separator: between messages that share one.
    """

    name: str
    packed: bool
    encode: Callable[[Any], bytes]
    opcode: Opcode
    separator: bytes

    def frame(self, messages: Sequence[bytes]) -> bytes:
        """Return encoded messages as one WebSocket frame."""
        return frame_of(self.opcode, self.separator.join(messages))

    def decode(self, text: str | None, data: bytes | None) -> Any:
        """Return the value in a client's message: its text, or its bytes.

        Raises:
            RequestRefused: it is of the other kind, or cannot be decoded.
        """
        if self.opcode is Opcode.TEXT:
            if text is None:
                raise RequestRefused("not_text", f"binary message; {self.name} is JSON text")
            return _json(text)
        if data is None:
            raise RequestRefused("not_binary", f"text message; {self.name} is binary")
        return _msgpack(data)


JSON: Final = Encoding("alphapulse.v2.json", False, msgspec.json.Encoder().encode, Opcode.TEXT, b"\n")
MSGPACK: Final = Encoding("alphapulse.v2.msgpack", True, msgspec.msgpack.Encoder().encode, Opcode.BINARY, b"")

ENCODINGS: Final = {encoding.name: encoding for encoding in (JSON, MSGPACK)}
"""By subprotocol."""


class Form(NamedTuple):
    """How a feed's messages are written for a subscriber: subscribers of the same form share the bytes."""

    encoding: Encoding
    checksum: bool


class Levelled(Protocol):
    """A message with levels, whose form depends on the encoding."""

    def written(self, packed: bool, checksum: bool) -> msgspec.Struct:
        """Return the message to encode."""
        ...

    def answering(self, request_id: int | str | None) -> Self:
        """Return the message as the answer to a request."""
        ...


Outgoing: TypeAlias = "msgspec.Struct | Levelled"


def encoded(message: Outgoing, form: Form) -> bytes:
    """Return the bytes of a message in a form."""
    if not isinstance(message, msgspec.Struct):
        message = message.written(form.encoding.packed, form.checksum)
    return form.encoding.encode(message)


def chosen(offered: Sequence[str]) -> Encoding | None:
    """Return the encoding for the subprotocols that a client offers, the preferred one first; None: none is known.

    Without an offer it is JSON.
    """
    if not offered:
        return JSON
    return next((ENCODINGS[name] for name in offered if name in ENCODINGS), None)
