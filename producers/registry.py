"""Venue registry: every package in ``producers/venues/`` with a ``protocol.py`` is a venue.

A venue's package describes it in ``VENUE``; it may also contain the server side of its protocol (``server.py``) and its
simulated market data (``simulator.py``), which are found here by name. A new venue needs no change outside its folder.
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
    """Return the names of all venues, sorted, without importing their code."""
    folders = files(_PACKAGE).iterdir()
    return tuple(sorted(folder.name for folder in folders if folder.joinpath("protocol.py").is_file()))


def load(name: str) -> Venue:
    """Return the venue ``name``.

    Raises:
        ConfigError: no such venue; the message lists the known ones.
    """
    if name not in names():
        raise ConfigError([f"venues.{name}: unknown venue; known: {', '.join(names())}"])
    venue: Venue = import_module(f"{_PACKAGE}.{name}").VENUE
    return venue


def unknown(name: str, known: Sequence[str] | None = None) -> str:
    """Return the message that ``name`` is none of the ``known`` venues (default: all)."""
    known = known if known is not None else names()
    return f"unknown venue{suggestion(name, known)}; known: {', '.join(known)}"


def part(name: str, module: Part) -> ModuleType | None:
    """Return a module of the venue's package; None if there is no such venue or module."""
    if name not in names() or not files(_PACKAGE).joinpath(name, f"{module}.py").is_file():
        return None
    return import_module(f"{_PACKAGE}.{name}.{module}")
