"""Line numbers of the keys in a TOML text, for messages; :mod:`tomllib` does not give them."""

from __future__ import annotations

import re

Key = tuple[str, ...]

_PART = r"""[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*'"""
_DOTTED = rf"(?:{_PART})(?:\s*\.\s*(?:{_PART}))*"
_TABLE = re.compile(rf"\s*\[\[?\s*({_DOTTED})\s*\]\]?\s*(?:#.*)?")
_ASSIGNMENT = re.compile(rf"\s*({_DOTTED})\s*=")
_PARTS = re.compile(_PART)
_STRINGS = ('"""', "'''")


def key_lines(text: str) -> dict[Key, int]:
    """Return the 1-based line of each table and key of ``text``, which is valid TOML.

    Keys inside inline tables are not listed; use the line of the key that holds the table.
    """
    lines: dict[Key, int] = {}
    table: Key = ()
    inside: str | None = None  # end marker of the current multi-line string
    # Not splitlines(): it splits at characters in comments and strings that are not line ends in TOML.
    for number, line in enumerate(text.split("\n"), start=1):
        if inside is not None:
            if inside in line:
                inside = None
            continue
        if header := _TABLE.fullmatch(line):
            table = _split(header[1])
            _note(table, 0, number, lines)
            continue
        if assignment := _ASSIGNMENT.match(line):
            _note(table + _split(assignment[1]), len(table), number, lines)
        inside = next((mark for mark in _STRINGS if line.count(mark) % 2), None)
    return lines


def line_of(key: Key, lines: dict[Key, int]) -> int | None:
    """Return the line of ``key``, or of the innermost key or table around it; None if there is none."""
    for length in range(len(key), 0, -1):
        if (line := lines.get(key[:length])) is not None:
            return line
    return None


def _note(key: Key, known: int, number: int, lines: dict[Key, int]) -> None:
    """Record this line for ``key`` and for the tables it implies beyond its first ``known`` parts."""
    for length in range(known + 1, len(key) + 1):
        lines.setdefault(key[:length], number)


def _split(dotted: str) -> Key:
    return tuple(part.strip("\"'") for part in _PARTS.findall(dotted))
