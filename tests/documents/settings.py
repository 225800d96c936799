"""Settings that the documents speak of: whether there are such keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from alphapulse.config.access_settings import AccessSettings
from alphapulse.config.section import Section
from alphapulse.config.settings import PREFIX, Settings, VenueSettings

VARIABLE: Final = re.compile(rf"\b{PREFIX}([A-Z][A-Z0-9_]*)(?![A-Z0-9_<…])")
OF_A_TABLE: Final = re.compile(r"\[([a-z_]+(?:\.[a-z_]+)?)\] ([a-z_]+)`")
"""``[section] key``, at the end of code."""
OUTSIDE: Final = frozenset({"CONFIG", "RECORDINGS", "GATEWAY_URL", "IMAGE"})
"""Read by load(), the tests, the page's build, and the compose file."""


def _keys() -> dict[str, set[str]]:
    """Return the keys of each table; ``""``: of none."""
    found: dict[str, set[str]] = {"": {"data_dir", "venues"}, "gateway.access": set(AccessSettings.model_fields)}
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found[name] = set(field.annotation.model_fields)
    return found


KEYS: Final = _keys()


def unknown(text: str) -> Iterator[str]:
    """Return the variables and keys in ``text`` that do not exist."""
    for said in VARIABLE.findall(text):
        if said not in OUTSIDE and not said.endswith("_") and not _is_variable(said.removesuffix("_FILE").lower()):
            yield PREFIX + said
    for table, key in OF_A_TABLE.findall(text):
        if table in KEYS and key not in KEYS[table]:
            yield f"[{table}] {key}"


def _is_variable(said: str) -> bool:
    match said.split("__"):
        case [key]:
            return key in KEYS[""]
        case ["venues", _, key]:
            return key in VenueSettings.model_fields
        case [table, key]:
            return key in KEYS.get(table, ())
        case [table, below, key]:
            return key in KEYS.get(f"{table}.{below}", ())
        case _:
            return False
