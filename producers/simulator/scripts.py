"""Fault scripts: what shall go wrong and when. As a file: TOML, one ``[[fault]]`` per fault, with the keys of
:class:`Fault`."""

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
"""``drop``: ``count`` frames never come. ``duplicate``: a frame comes ``count`` times more. ``reorder``: a frame comes
behind ``count`` later ones. ``corrupt``: part of a frame is overwritten or missing. ``checksum``: the next frame that
has one has a wrong one. ``stall``: nothing comes for ``seconds``, then all of it. ``mute``: nothing comes for
``seconds`` and is lost, though the connection stands. ``disconnect``: the connection is cut. ``cut_snapshot``: it is
cut in the middle of the next snapshot. ``rest_slow``: ``count`` REST answers take ``seconds`` longer. ``rest_418`` …:
``count`` requests are answered with this status and ``Retry-After: seconds``. ``refuse``: ``count`` subscriptions are
refused; ``refuse_trades``: as many to trades. ``unknown``: the next symbol subscribed to is not known for ``seconds``.
``rate``: ``count`` messages are answered as if they were too many. ``skew``: from now on the venue's clock is
``seconds`` ahead (less than 0: behind). ``drop_trades``: ``count``
frames about trades never come. ``no_heartbeats``: for ``seconds`` none of the frames come that only prove life
(heartbeats, and words that nothing has changed). ``only_heartbeats``: for ``seconds`` only these and answers come; what
else there is to say is lost. ``auction``: for ``seconds`` the book is crossed, and shown as it is. ``huge``: for
``seconds`` the book shows a bid of more than fits an int64 at eight decimals, far below the market."""

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
    """One thing that goes wrong: what, how much of it, when and where.

    Attributes:
        frame: due at this frame of the venue's, counted from 1.
        at: or due so many seconds after the start.
        venue, symbol: ours; None: any.
    """

    kind: Kind
    frame: Annotated[int, msgspec.Meta(ge=1)] | None = None
    at: Annotated[float, msgspec.Meta(ge=0)] | None = None
    count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1
    seconds: Annotated[float, msgspec.Meta(ge=-86_400, le=86_400)] = 1.0
    venue: str | None = None
    symbol: str | None = None


def random_fault(chance: random.Random, frame: int) -> Fault:
    """Return some fault that is due at ``frame``."""
    kind: Any = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
    seconds = round(chance.uniform(-5.0, 5.0) if kind == "skew" else chance.uniform(0.0, 2.0), 3)
    return Fault(kind=kind, frame=frame, count=min(1 + int(chance.expovariate(0.7)), 50), seconds=seconds)


def parse(text: str, name: str) -> list[Fault]:
    """Return the faults of a script; ``name`` stands in the errors.

    Raises:
        ConfigError: it is no such script; every fault of it is told, with its line.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{name}: {error}"]) from error
    wrong = [f"{name}: {key}: unknown; a script consists of [[fault]]" for key in tables if key != "fault"]
    entries = tables.get("fault", [])
    if not isinstance(entries, list):
        raise ConfigError([*wrong, f"{name}: fault: must be written [[fault]]"])
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
            wrong.append(f"{place}: fault {index + 1}: either `frame` or `at` must say when")
        elif fault.seconds < 0 and fault.kind != "skew":
            wrong.append(f"{place}: fault {index + 1}: seconds: must not be below 0, found {fault.seconds:g}")
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
