"""Commands in the documents: whether what they name exists, without running them."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import typer

from alphapulse.cli.app import app
from scripts.parsers import PARSERS
from tests.documents import ROOT, stack
from tests.documents.blocks import ASSIGNMENT, blocks

ENDS: Final = frozenset({"|", "&&", "||", ";", ">", "2>", "&"})
INLINE: Final = re.compile(r"`((?:[A-Z][A-Z0-9_]*=\S+ )*(?:alphapulse|curl|docker|helm|kubectl|make|ops) [^`\n]+)`")
PLACEHOLDER: Final = re.compile(r"…|\.\.\.|[<>\[\]{}]|\b(?:COMMAND|DIR|FILE|NAME|RECORDING|QUERY|TARGET|VENUE|SCOPE)\b")
"""Words that stand for something else: a command with one is checked without it."""


def typed(path: Path) -> Iterator[tuple[str, str]]:
    """Return the commands of a document, in its blocks and in its text, each with its place."""
    for block in blocks(path):
        if block.language == "sh":
            for line in block.commands():
                yield block.place, line
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        for command in INLINE.findall(line):
            yield f"{path.relative_to(ROOT)}:{number}", command


def fault(command: str) -> str | None:
    """Return what is wrong with a command: an unknown command, option or value, a target that make does not have.

    ``alphapulse`` and ``make`` are looked at wherever they stand in the line, of other programs what they name of ours
    (``tests.documents.stack``).
    """
    try:
        words = shlex.split(command, comments=True)
    except ValueError:
        return None  # the beginning of a longer quotation
    for program, arguments in _programs(words):
        said = _alphapulse(arguments) if program == "alphapulse" else _make(arguments)
        if said:
            return said
    for simple in stack.simple_commands(words, ENDS):
        known = [word for word in simple if not PLACEHOLDER.search(word)]
        if said := stack.fault(known):
            return said
    return None


def _programs(words: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Return each call of ``alphapulse`` and ``make`` among the words of a line."""
    before: str | None = None
    for number, word in enumerate(words):
        begins = (
            before is None
            or before in ENDS
            or before in {"exec", "--", *stack.compose()[0]}
            or ASSIGNMENT.match(before)
        )
        if Path(word).name in {"alphapulse", "make"} and begins:
            arguments: list[str] = []
            for following in words[number + 1 :]:
                if following in ENDS:
                    break
                arguments.append(following.rstrip(";"))
            yield Path(word).name, arguments
        before = word


@cache
def _root() -> Any:
    return typer.main.get_command(app)


def _alphapulse(arguments: list[str]) -> str | None:
    root = _root()
    words = list(arguments)
    if words[:1] == ["--config"]:
        words = words[2:]
    if not words or PLACEHOLDER.search(words[0]) or words[0] in {"--help", "--version"}:
        return None
    command = root
    name: list[str] = []
    while hasattr(command, "commands"):
        if not words or words[0] == "--help":
            return None
        if words[0] not in command.commands:
            return f"alphapulse {' '.join([*name, words[0]])}: no such command"
        name.append(words[0])
        command = command.commands[words.pop(0)]
    if any(PLACEHOLDER.search(word) for word in words) or not words or "--help" in words:
        return _unknown_options(command, name, words)
    match name:
        case ["keys" | "dlq" as program] if len(words) == 1:
            return _subcommand(program, words[0])
        case [program] if program in PARSERS:
            return _parsed(PARSERS[program](), words)
        case ["health"]:
            wrong = [word for word in words if word.startswith("-") and word not in {"--live", "--end-hung"}]
            return f"alphapulse health: {' '.join(wrong)}" if wrong else None
        case _:
            try:
                command.make_context(" ".join(name), words)
            except typer.TyperException as error:
                return f"alphapulse {' '.join(name)}: {error.format_message()}"
            return None


def _subcommand(program: str, word: str) -> str | None:
    """Check a subcommand that stands alone: it is spoken of, not typed."""
    actions = PARSERS[program]()._actions
    known = {name for action in actions if isinstance(action.choices, dict) for name in action.choices}
    return None if word in known else f"alphapulse {program} {word}: no such command"


def _unknown_options(command: Any, name: list[str], words: list[str]) -> str | None:
    """Check the names of options alone, where values are placeholders."""
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    if name[0] in PARSERS:
        known |= set(re.findall(r"--[a-z-]+", _help(PARSERS[name[0]]())))
    if name == ["health"]:
        known |= {"--live", "--end-hung"}
    wrong = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
    return f"alphapulse {' '.join(name)}: no such option: {' '.join(wrong)}" if wrong else None


def _help(parser: argparse.ArgumentParser) -> str:
    """Return the help of a parser, and of its subcommands."""
    below = [action.choices.values() for action in parser._actions if isinstance(action.choices, dict)]
    return parser.format_help() + "".join(each.format_help() for group in below for each in group)


def _parsed(parser: argparse.ArgumentParser, words: list[str]) -> str | None:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parser.parse_args(words)
    except SystemExit:
        return said.getvalue().strip().splitlines()[-1]
    return None


def _make(arguments: list[str]) -> str | None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {name for line in re.findall(r"^([a-z][a-z -]*):", text, re.MULTILINE) for name in line.split()}
    variables = set(re.findall(r"\b[A-Z_]{3,}\b", text))
    for word in arguments:
        if PLACEHOLDER.search(word):
            continue
        variable = ASSIGNMENT.match(word)
        if variable and variable[0][:-1] not in variables:
            return f"make {word}: no such variable"
        if not variable and not word.startswith("-") and word not in targets:
            return f"make {word}: no such target"
    return None
