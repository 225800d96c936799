#!/usr/bin/env python3
"""Reference of the command line, docs/cli.md, made of the commands themselves.

``scripts/cli_doc.py`` writes the file, ``--check`` exits with 1 if it is not what it should be. Commands that hand
their arguments over to another program (``dlq``, ``keys``, ``record``, ``simulate``, ``health``) are described by its
parser.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import typer
from generated import run
from parsers import PARSERS

from alphapulse.cli import wording
from alphapulse.cli.app import app
from alphapulse.cli.health import USAGE as HEALTH

ROOT: Final = Path(__file__).resolve().parent.parent
TARGET: Final = ROOT / "docs" / "cli.md"
BAR: Final = "\\|"
"""A bar within a cell of a table."""

HEAD: Final = """\
# Command line

Made of `alphapulse/cli` by `scripts/cli_doc.py`; a test compares them.

`alphapulse --help` and `alphapulse COMMAND --help` show the same. In a checkout the command is in the virtual
environment, `.venv/bin/alphapulse`. Exit codes: 0 done; 1 something failed or is missing, as the output says; 2
arguments or configuration were refused, each error with its place; 130 interrupted. Services end with 0 at SIGTERM and
Ctrl-C. What is configured, and by which file or variable, stands in [configuration.md](configuration.md).
"""


def document() -> str:
    """Return the reference as Markdown."""
    root = wording.command(app)
    context = typer.Context(root, info_name="alphapulse")
    parts = [HEAD, *_options("Options of all commands, before the command's name", _records(root, context))]
    for name, command in sorted(_leaves(root, "")):
        parts += _command(name, command, context)
    return "\n".join(parts).rstrip() + "\n"


def _leaves(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        path = f"{prefix}{name}"
        if hasattr(command, "commands"):
            yield from _leaves(command, f"{path} ")
        else:
            yield path, command


def _command(name: str, command: Any, root: typer.Context) -> list[str]:
    parts = [f"## alphapulse {name}\n"]
    if name == "health":
        return [*parts, f"{_sentence(command.help)}\n", f"```text\n{HEALTH}\n```\n"]
    if name in PARSERS:
        return [*parts, f"{_sentence(command.help)}\n", *_of_parser(PARSERS[name](), f"alphapulse {name}", {"help"})]
    if command.context_settings.get("ignore_unknown_options"):
        raise ValueError(f"alphapulse {name}: hands its arguments over, and PARSERS does not say to which parser")
    context = typer.Context(command, info_name=name, parent=root)
    usage = " ".join(("alphapulse", name, *command.collect_usage_pieces(context)))
    return [
        *parts,
        f"{_sentence(command.help)}\n",
        f"```text\n{usage}\n```\n",
        *_options("", _records(command, context)),
    ]


def _sentence(text: str) -> str:
    """Return the text of a help without the hint at ``--help``, which is printed below."""
    return " ".join(text.partition(" (more:")[0].split()).rstrip(".") + "."


def _records(command: Any, context: typer.Context) -> Iterator[tuple[str, str]]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and "--help" not in record[0]:
            yield record


def _of_parser(parser: argparse.ArgumentParser, name: str, without: set[str]) -> Iterator[str]:
    usage: list[str] = [name]
    rows: list[tuple[str, str]] = []
    nested: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:  # noqa: SLF001 argparse has no public list of them
        if action.dest in without:
            continue
        if isinstance(action.choices, dict):
            nested = action.choices
            usage.append(str(action.metavar))
            continue
        value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
        if action.option_strings:
            text = " ".join(filter(None, (", ".join(action.option_strings), value)))
            usage.append(text if action.required else f"[{text}]")
        else:
            text = value
            usage.append({"+": f"{value} [{value} ...]", "*": f"[{value} ...]"}.get(str(action.nargs), value))
        more = "  [required]" if action.required and action.option_strings else ""
        # As argparse does: a help may name its default.
        rows.append((text, (action.help or "") % (vars(action) | {"prog": name}) + more))
    yield f"```text\n{' '.join(usage)}\n```\n"
    yield from _options("", iter(rows))
    for word, below in nested.items():
        yield f"### {name} {word}\n"
        yield from _of_parser(below, f"{name} {word}", without)


def _options(title: str, records: Iterator[tuple[str, str]]) -> list[str]:
    rows = [f"| `{name.replace('|', BAR)}` | {_cell(text)} |" for name, text in records]
    head = [f"{title}:\n"] if title and rows else []
    return [*head, "| argument | |\n|---|---|", *rows, ""] if rows else []


def _cell(text: str) -> str:
    """Return ``text`` as the cell of a table; what the help puts in brackets follows in parentheses."""
    said, bracket, more = text.rpartition("  [")
    if bracket:
        more = more.rstrip().removesuffix("]").replace("(", "").replace(")", "")
        text = f"{said.rstrip()} ({more})".strip()
    return " ".join(text.split()).replace("|", BAR).replace("<", "&lt;").replace("*", "\\*")


def main() -> int:
    """Write the file, or compare it; return the exit code."""
    return run((__doc__ or "").partition("\n")[0], lambda: {TARGET: document()}, "scripts/cli_doc.py")


if __name__ == "__main__":
    sys.exit(main())
