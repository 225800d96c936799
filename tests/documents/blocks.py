"""Blocks of code in a document, and what their markers say."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.documents import ROOT

MARKER: Final = re.compile(
    r"^ *<!-- (?P<all>all )?(?:(?P<language>sh|sql|python|js) )?(?P<what>not run|run)(?:: (?P<said>.*?))? -->$"
)
LANGUAGES: Final = {
    "sh": "sh",
    "bash": "sh",
    "shell": "sh",
    "console": "sh",
    "sql": "sql",
    "python": "python",
    "js": "js",
}
COMMANDS: Final = frozenset(
    [
        "alphapulse",
        "make",
        "docker",
        "curl",
        "python",
        "python3",
        "pip",
        "git",
        ".",
        "export",
        "cp",
        "npm",
        "npx",
        "ops",
        "sql",
        "df",
        "date",
        "timedatectl",
        "openssl",
        "sha256sum",
        "mkdir",
        "cd",
        "helm",
        "kubectl",
        "scripts/fresh_machine.py",
        ".venv/bin/pre-commit",
        ".venv/bin/alphapulse",
    ]
)
"""Words that begin a command in a block without a language."""
ASSIGNMENT: Final = re.compile(r"[A-Z][A-Z0-9_]*=")


@dataclass(frozen=True)
class Marker:
    """What a comment says of a block.

    Attributes:
        tests: files that run it, relative to the repository; empty with ``reason`` None: the general test.
        reason: why it, or a part of it, is not run.
    """

    tests: tuple[str, ...]
    reason: str | None

    @property
    def as_it_stands(self) -> bool:
        """Whether the general test runs it."""
        return not self.tests and self.reason is None


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        path, line: where it begins (1-based).
        language: ``sh``, ``sql``, ``python``, ``js``; another language, or none, as it is written.
        text: its lines, without the indentation.
    """

    path: Path
    line: int
    language: str
    text: str
    marker: Marker | None

    @property
    def place(self) -> str:
        """``docs/x.md:12``."""
        return f"{self.path.relative_to(ROOT)}:{self.line}"

    @property
    def runnable(self) -> bool:
        """Whether a reader would run it: commands, a query, a program."""
        return self.language in set(LANGUAGES.values())

    def commands(self) -> list[str]:
        """Return the commands in it: what a prompt precedes, if there are prompts; continued lines joined."""
        lines = self.text.replace("\\\n", " ").splitlines()
        prompted = [line[2:] for line in lines if line.startswith("$ ")]
        return prompted or [line for line in lines if line.strip() and not line.startswith("#")]


def blocks(path: Path) -> list[Block]:
    """Return the blocks of a document, in their order.

    Raises:
        ValueError: a marker is malformed, or stands above no block.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    general: dict[str | None, Marker] = {}
    found: list[tuple[int, str, str, Marker | None]] = []
    marker: Marker | None = None
    number = 0
    while number < len(lines):
        line = lines[number]
        if line.lstrip().startswith("<!-- ") and (" run" in line or "-- run" in line):
            match = MARKER.match(line)
            if match is None:
                raise ValueError(f"{path.relative_to(ROOT)}:{number + 1}: no marker of a block: {line.strip()}")
            said = _marker(match, f"{path.relative_to(ROOT)}:{number + 1}")
            if match["all"]:
                general[match["language"]] = said
            else:
                marker = said
            number += 1
        elif fence := re.match(r"^( *)(`{3,})(\w*)", line):
            end = number + 1
            while end < len(lines) and not lines[end].startswith(fence[1] + fence[2]):
                end += 1
            text = "\n".join(each.removeprefix(fence[1]) for each in lines[number + 1 : end])
            found.append((number + 1, LANGUAGES.get(fence[3], fence[3]), text, marker))
            marker, number = None, end + 1
        elif line.startswith("    ") and line.strip() and (number == 0 or not lines[number - 1].strip()):
            end = number
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            text = "\n".join(_dedented(lines[number:end])).strip("\n")
            found.append((number + 1, _language(text), text, marker))
            marker, number = None, end
        else:
            if line.strip() and marker is not None:
                raise ValueError(f"{path.relative_to(ROOT)}:{number + 1}: the marker above stands above no block")
            number += 1
    return [
        Block(path, at, language, text, own or general.get(language) or general.get(None))
        for at, language, text, own in found
    ]


def _marker(match: re.Match[str], place: str) -> Marker:
    said = match["said"] or ""
    if match["what"] == "not run":
        if not said:
            raise ValueError(f"{place}: not run, but why?")
        return Marker((), said)
    tests, _, reason = said.partition("; not run: ")
    return Marker(tuple(filter(None, (test.strip() for test in tests.split(",")))), reason or None)


def _dedented(lines: list[str]) -> Iterator[str]:
    indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    for line in lines:
        yield line[indent:]


def _language(text: str) -> str:
    """Return what a block without a language is: commands, a query, or ``""``."""
    for line in text.splitlines():
        if line.startswith("$ "):
            return "sh"
        first = next((word for word in _words(line) if not ASSIGNMENT.match(word)), "")
        if first in COMMANDS:
            return "sh"
        if first in {"SELECT", "INSERT"}:
            return "sql"
        if first == "import":
            return "python"
    return ""


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # an apostrophe in text, or a quotation over several lines
        return line.split()
