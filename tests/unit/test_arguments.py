"""Values of options that begin with a hyphen, which argparse would take for options."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from alphapulse.arguments import CommandParser
from sinks.dead_letters.__main__ import parser as letters

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = ("alphapulse", "schemas", "producers", "stream_processors", "sinks", "gateway")


def made() -> CommandParser:
    found = CommandParser(prog="thing", exit_on_error=False)
    commands = found.add_subparsers(dest="command", required=True)
    command = commands.add_parser("list")
    command.add_argument("names", nargs="*")
    command.add_argument("--since")
    command.add_argument("--sinks", action="store_true")
    command.add_argument("-n", "--number", type=int)
    return found


@pytest.mark.parametrize(
    ("words", "since", "names"),
    [
        (["--since", "-2h"], "-2h", []),
        (["--since=-2h"], "-2h", []),
        (["--sinc", "-2h", "a"], "-2h", ["a"]),
        (["a", "b", "--since", "-2h", "--sinks"], "-2h", ["a", "b"]),
        (["--since", "-2h", "--", "--since", "-3h"], "-2h", ["--since", "-3h"]),
        (["--since", "now", "-n", "-3"], "now", []),
        (["--number", "-3", "--since", "-"], "-", []),
    ],
)
def test_a_value_may_begin_with_a_hyphen(words: list[str], since: str, names: list[str]) -> None:
    options = made().parse_args(["list", *words])
    assert (options.since, options.names) == (since, names)
    assert options.number in (None, -3)


@pytest.mark.parametrize(
    "words",
    [["--since"], ["--since", "--sinks"], ["--since", "--untl"], ["--since", "-n", "3"], ["--sinks", "-2h"], ["-2h"]],
)
def test_a_value_that_is_missing_is_told(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        made().parse_args(["list", *words])
    assert ended.value.code == 2
    assert re.search(r"expected one argument|unrecognized arguments", capsys.readouterr().err)


def test_times_ago_of_dead_letters() -> None:
    options = letters().parse_args(["list", "--since", "-2h", "--until", "-15m"])
    assert (options.since, options.until) == ("-2h", "-15m")


def test_every_command_reads_its_arguments_so() -> None:
    plain = [
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if "node_modules" not in path.parts and "ArgumentParser(" in path.read_text(encoding="utf-8")
    ]
    assert not plain
