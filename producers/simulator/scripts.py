"""Fault scripts: which faults are injected and when. A file is TOML with one ``[[fault]]`` per fault; its keys are the
fields of :class:`Fault`."""

from __future__ import annotations

import random
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

import msgspec

from alphapulse.errors import ConfigError
from alphapulse.text_files import NoText, read_text

Kind = Literal[
    "drop",
    "duplicate",
    "reorder",
    "corrupt",
    "checksum",
    "stall",
    "mute",
    "disconnect",
    "cut_snapshot",
    "rest_slow",
    "rest_418",
    "rest_429",
    "rest_500",
    "rest_503",
    "refuse",
    "refuse_trades",
    "unknown",
    "rate",
    "skew",
    "drop_trades",
    "no_heartbeats",
    "only_heartbeats",
    "auction",
    "huge",
]
"""``drop``: ``count`` frames are not sent. ``duplicate``: a frame is sent ``count`` times more. ``reorder``: a frame is
sent after ``count`` later ones. ``corrupt``: part of a frame is overwritten or missing. ``checksum``: the next frame
with a checksum has a wrong one. ``stall``: nothing is sent for ``seconds``, then all of it. ``mute``: nothing is sent
for ``seconds`` and is lost, while the connection stays open. ``disconnect``: the connection is closed.
``cut_snapshot``: it is closed in the middle of the next snapshot. ``rest_slow``: ``count`` REST answers take
``seconds`` longer. ``rest_418`` …: ``count`` requests are answered with this status and ``Retry-After: seconds``.
``refuse``: ``count`` subscriptions are refused; ``refuse_trades``: as many to trades. ``unknown``: the next symbol
subscribed to is not known for ``seconds``. ``rate``: ``count`` messages are answered as exceeding the rate limit.
``skew``: from now on the venue's clock is ``seconds`` ahead (negative: behind). ``drop_trades``: ``count`` frames about
trades are not sent. ``no_heartbeats``: for ``seconds`` the frames that only prove the venue alive (heartbeats,
confirmations of unchanged books) are not sent. ``only_heartbeats``: for ``seconds`` only these and answers are sent;
other frames are lost. ``auction``: for ``seconds`` the book is crossed, and shown crossed. ``huge``: for ``seconds``
the book shows a bid larger than an int64 at eight decimals, far below the market."""

KINDS: Final[tuple[str, ...]] = get_args(Kind)

_WEIGHTS: Final = {
    "drop": 30,
    "duplicate": 15,
    "reorder": 15,
    "corrupt": 12,
    "checksum": 8,
    "stall": 6,
    "mute": 2,
    "disconnect": 5,
    "cut_snapshot": 2,
    "rest_slow": 3,
    "rest_418": 1,
    "rest_429": 3,
    "rest_500": 1,
    "rest_503": 2,
    "refuse": 3,
    "refuse_trades": 3,
    "unknown": 2,
    "rate": 2,
    "skew": 2,
    "drop_trades": 6,
    "no_heartbeats": 2,
    "only_heartbeats": 2,
    "auction": 3,
    "huge": 2,
}
_HEADER: Final = re.compile(r"\s*\[\[\s*fault\s*\]\]")


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One fault: kind, amount, time and place.

    Attributes:
        frame: due at this frame of the venue, counted from 1.
        at: or due this many seconds after the start.
        venue, symbol: the venue and the canonical symbol; None: any.
    """

    kind: Kind
    frame: Annotated[int, msgspec.Meta(ge=1)] | None = None
    at: Annotated[float, msgspec.Meta(ge=0)] | None = None
    count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1
    seconds: Annotated[float, msgspec.Meta(ge=-86_400, le=86_400)] = 1.0
    venue: str | None = None
    symbol: str | None = None


def random_fault(chance: random.Random, frame: int) -> Fault:
    """Return a random fault that is due at ``frame``."""
    kind: Any = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
    seconds = round(chance.uniform(-5.0, 5.0) if kind == "skew" else chance.uniform(0.0, 2.0), 3)
    return Fault(kind=kind, frame=frame, count=min(1 + int(chance.expovariate(0.7)), 50), seconds=seconds)


def parse(text: str, name: str) -> list[Fault]:
    """Parse a script; ``name`` identifies it in the messages.

    Raises:
        ConfigError: not a valid script; lists every fault with its line.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{name}: {error}"]) from error
    wrong = [f"{name}: {key}: unknown key; a script consists of [[fault]] tables" for key in tables if key != "fault"]
    entries = tables.get("fault", [])
    if not isinstance(entries, list):
        raise ConfigError([*wrong, f"{name}: fault: write it as [[fault]]"])
    lines = [number for number, line in enumerate(text.splitlines(), start=1) if _HEADER.match(line)]
    script: list[Fault] = []
    for index, entry in enumerate(entries):
        place = f"{name}:{lines[index]}" if index < len(lines) else name
        try:
            fault = msgspec.convert(entry, Fault)
        except msgspec.ValidationError as error:
            wrong.append(f"{place}: fault {index + 1}: {error}")
            continue
        if (fault.frame is None) == (fault.at is None):
            wrong.append(f"{place}: fault {index + 1}: set either `frame` or `at`")
        elif fault.seconds < 0 and fault.kind != "skew":
            wrong.append(f"{place}: fault {index + 1}: seconds: must not be negative, found {fault.seconds:g}")
        script.append(fault)
    if wrong:
        raise ConfigError(wrong)
    return script


def load(path: Path) -> list[Fault]:
    """Return the faults of the script at ``path``.

    Raises:
        ConfigError: it cannot be read, or see :func:`parse`.
    """
    try:
        return parse(read_text(path), str(path))
    except NoText as error:
        raise ConfigError([f"{path}: {error}"]) from error
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror or error}"]) from error
