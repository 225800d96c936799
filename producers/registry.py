"""The venues there are: every package in ``producers/venues/`` that holds a ``protocol.py``.

A venue's package says what it is in ``VENUE``; it may also hold the venue's own end of its protocol (``server.py``)
and its simulated market data (``simulator.py``), which are found here by their names. So a new venue is a new folder,
and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.resources import files
from types import ModuleType
from typing import Final, Literal, TypeAlias

from alphapulse.config.faults import suggestion
from alphapulse.errors import ConfigError
from producers.feed.venue import Venue

Part: TypeAlias = Literal["protocol", "messages", "symbols", "server", "simulator"]
"""A module of a venue's package."""

_PACKAGE: Final = "producers.venues"


@cache
def names() -> tuple[str, ...]:
    """Return the names of all venues, sorted; none of their code is imported for it."""
    folders = files(_PACKAGE).iterdir()
    return tuple(sorted(folder.name for folder in folders if folder.joinpath("protocol.py").is_file()))


def load(name: str) -> Venue:
    """Return the venue called ``name``.

    Raises:
        ConfigError: there is none; the message names those there are.
    """
    if name not in names():
        raise ConfigError([f"venues.{name}: unknown venue; known: {', '.join(names())}"])
    venue: Venue = import_module(f"{_PACKAGE}.{name}").VENUE
    return venue


def unknown(name: str, known: Sequence[str] | None = None) -> str:
    """Return the reason why there is no venue called ``name`` among the ``known`` ones (default: all)."""
    known = known if known is not None else names()
    return f"unknown venue{suggestion(name, known)}; there are {', '.join(known)}"


def part(name: str, module: Part) -> ModuleType | None:
    """Return a module of the venue's package; None if there is no such venue, or it has no such module."""
    if name not in names() or not files(_PACKAGE).joinpath(name, f"{module}.py").is_file():
        return None
    return import_module(f"{_PACKAGE}.{name}.{module}")
