"""The command line: what is passed on to services, and what is told of wrong arguments."""

from __future__ import annotations

import os
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import typer

from alphapulse import cli, simulated
from alphapulse.cli import wording
from alphapulse.cli.app import app
from producers.simulator.__main__ import parser as simulate_parser


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ALPHAPULSE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")


class Became(Exception):
    """Raised where this process would have become another one."""


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command line; return its exit code, or the arguments of the process that it became."""

    def become(_: str, arguments: list[str]) -> None:
        raise Became(arguments[1:])

    def run(*arguments: str) -> int | list[str]:
        monkeypatch.setattr(sys, "argv", ["alphapulse", *arguments])
        try:
            return cli.run()
        except Became as became:
            found: list[str] = became.args[0]
            return found
        except SystemExit as ended:
            return int(ended.code or 0)

    monkeypatch.setattr(os, "execv", become)
    return run


def test_the_version(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--version") == 0
    assert capsys.readouterr().out == f"alphapulse {metadata.version('alphapulse')}\n"


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1",
        "-- trades by venue\nSELECT 1",
        "--trades\nSELECT 1",
        "--format=JSON\nSELECT 1",
        "--help\nSELECT 1",
        "-- x",
        "-1",
        "- 1",
        "",
        " \n",
        "/* --data-dir x */ SELECT 1",
        "-- ünï\nSELECT '--data-dir'",
    ],
)
def test_a_query_is_passed_on_as_it_is(command: Any, query: str) -> None:
    options = ["--data-dir", "/d", "--format", "TSV"]
    wanted = ["-m", "sinks.clickhouse.query", "--data-dir", "/d", "--database", "alphapulse", "--format", "TSV"]
    for arguments in (
        [*options, query],
        [query, *options],
        [*options[:2], query, *options[2:]],
        [*options, "--", query],
    ):
        assert command("sql", *arguments) == [*wanted, "--", query]


def test_a_query_is_asked_in_the_configured_database(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHAPULSE_CLICKHOUSE__DATABASE", "market")
    found = command("sql", "SELECT 1", "--data-dir=/d")
    assert found[2:] == ["--data-dir", "/d", "--database", "market", "--format", "TSVWithNames", "--", "SELECT 1"]


def test_a_query_has_parameters_or_is_in_a_file(command: Any) -> None:
    options = ["--data-dir", "data/demo", "--database", "alphapulse", "--format", "TSVWithNames"]
    for given in (
        ["ohlcv", "-p", "symbol=BTC-USD", "--param", "x=-1"],
        ["-p", "symbol=BTC-USD", "ohlcv", "-p", "x=-1"],
    ):
        assert command("sql", *given)[2:] == [*options, "--param=symbol=BTC-USD", "--param=x=-1", "--", "ohlcv"]
    assert command("sql", "-f", "-x.sql", "-p", "a=--b")[2:] == [*options, "--file=-x.sql", "--param=a=--b"]
    assert command("sql", "--list")[2:] == [*options, "--list"]
    assert command("sql")[2:] == options


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["sql", "--fromat", "TSV", "SELECT 1"],
            "No such option: --fromat (Possible options: --format)",
        ),
        (["sql", "SELECT 1", "--format"], "Option '--format' requires an argument."),
        (["sql", "SELECT 1", "SELECT 2"], "alphapulse sql: Got unexpected extra argument(s) (SELECT 2)"),
        (
            ["sql", "SELECT 1", "--data-dir", ""],
            "alphapulse sql: Invalid value for '--data-dir': expected a folder, found an empty text",
        ),
        (["sink"], "alphapulse sink: Missing argument 'target'. Choose from: clickhouse, parquet"),
        (["sink", "postgres"], "'postgres' is not one of 'clickhouse', 'parquet'."),
        (
            ["demo", "--port", "-1"],
            "alphapulse demo: Invalid value for '--port': expected a whole number from 0 to 65535, found '-1'",
        ),
        (
            ["demo", "--seed", "x"],
            "alphapulse demo: Invalid value for '--seed': expected a whole number, found 'x'",
        ),
        (["init", "--wait", "-1"], "Invalid value for '--wait': expected a number of at least 0, found '-1'"),
        (["init", "--wait", "soon"], "Invalid value for '--wait': expected a number of at least 0, found 'soon'"),
        (["broker", "kafka", "--nodes", "2"], "'--nodes': '2' is not one of '1', '3'."),
        (["topics", "create", "--replication", "0"], "alphapulse topics create: Invalid value for '--replication'"),
        (["nonsense"], "alphapulse: No such command 'nonsense'."),
        (["check", "x"], "alphapulse check: Got unexpected extra argument(s) (x)"),
        (["--config", "", "check"], "alphapulse: Invalid value for '--config': expected a folder, found an empty text"),
        (["--config", __file__, "check"], f"'--config': {__file__} is a file, not a folder"),
        (["replay", "a.rec", "--speed", "0"], "alphapulse: --speed: 'max' or a positive number, found '0'"),
        (["demo", "--venues", " ,", "--symbols", "BTC-USD"], "alphapulse: --venues: ' ,' is an empty list"),
    ],
)
def test_a_wrong_argument_is_one_line(
    command: Any, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert command(*arguments) == 2
    found = capsys.readouterr()
    assert told in found.err
    assert len(found.err.splitlines()) == 1
    assert "Value error" not in found.err


def test_all_wrong_names_are_told_at_once(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("demo", "--venues", "Kraken,coinbase,b-x", "--symbols", "btc/usd,ETH-USD,-") == 2
    assert capsys.readouterr().err.splitlines() == [
        "alphapulse: 4 faults:",
        "  - --venues: not a venue name: 'Kraken' (lower-case letters, digits and _)",
        "  - --venues: not a venue name: 'b-x' (lower-case letters, digits and _)",
        (
            "  - --symbols: not a canonical symbol: 'btc/usd' (BASE-QUOTE in capitals, or a ticker), did you mean "
            "BTC-USD?"
        ),
        "  - --symbols: not a canonical symbol: '-' (BASE-QUOTE in capitals, or a ticker)",
    ]


def test_recordings_that_cannot_be_read_are_all_named(
    command: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    wrong = [str(tmp_path / "none.rec"), str(tmp_path), str(tmp_path / "pipe")]
    assert command("replay", *wrong, "--data-dir", str(tmp_path / "d")) == 2
    assert capsys.readouterr().err.splitlines() == [
        "alphapulse: 3 faults:",
        f"  - {tmp_path / 'none.rec'}: no such file",
        f"  - {tmp_path}: is a folder; name the recordings in it, such as {tmp_path / '*.rec.gz'}",
        f"  - {tmp_path / 'pipe'}: is not a regular file; a recording is read twice",
    ]
    assert not (tmp_path / "d").exists()


def test_help_shows_every_word_of_a_command(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Rich takes ``[word]`` for a style and leaves it out."""
    root: Any = typer.main.get_command(app)
    groups = [((), root), *(((name,), found) for name, found in root.commands.items() if hasattr(found, "commands"))]
    for words, group in groups:
        command(*words)
        found = capsys.readouterr()
        shown = re.sub(r"[\s│]+", " ", found.out + found.err)
        for each in group.commands.values():
            assert " ".join(each.help.split()) in shown


def leaves() -> list[list[str]]:
    """Return the words of each command that shows its own help."""
    root: Any = typer.main.get_command(app)
    found = []
    for name, each in root.commands.items():
        inner = getattr(each, "commands", {})
        found += [[name, word] for word in inner]
        if not inner and not each.context_settings.get("ignore_unknown_options"):
            found.append([name])
    return found


@pytest.mark.parametrize("words", leaves(), ids=" ".join)
def test_help_has_words_for_values_and_cuts_nothing(
    command: Any, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert command(*words, "--help") == 0
    lines = capsys.readouterr().out.splitlines()
    text = "\n".join(lines)
    assert max(map(len, lines)) <= 80
    assert re.search(r"<\w", text) is None, "a type, such as <bool>"
    assert "… " not in text, "cut by rich"


def test_help_names_values() -> None:
    shown: dict[str, str] = {}
    root = wording.command(app)
    for name in ("acls", "broker", "replay"):
        each = root.commands[name]
        each = each.commands["kafka"] if name == "broker" else each
        context = typer.Context(each, info_name=name)
        shown |= {parameter.name: parameter.display_type_rich(ctx=context) for parameter in each.get_params(context)}
    assert shown["principal"] == "TEXT"
    assert shown["clickhouse"] == shown["help"] == ""
    assert shown["form"] == "table|json|kafka-acls|rpk"
    assert shown["port"] == "N"
    assert shown["data_dir"] == "DIR"
    assert (shown["services"], shown["recordings"]) == ("NAME", "FILE")


@pytest.mark.parametrize("group", [[], ["broker"], ["topics"], ["schemas"]])
def test_help_without_arguments(command: Any, capsys: pytest.CaptureFixture[str], group: list[str]) -> None:
    assert command(*group) == 2
    found = capsys.readouterr()
    assert "Commands" in found.out + found.err
    assert max(map(len, (found.out + found.err).splitlines())) <= 80


def test_a_program_is_passed_its_own_options(command: Any) -> None:
    assert command("simulate", "--venues", "okx") == ["-m", "producers.simulator", "--venues", "okx"]
    assert simulate_parser().parse_args([]).venues == simulated.VENUES.split(",")
    assert command("record", "kraken", "--out", "x") == ["-m", "producers.record", "kraken", "--out", "x"]
    assert command("collect", "kraken", "okx") == ["-m", "producers.collect", "--", "kraken", "okx"]
    assert command("sink", "parquet") == ["-m", "sinks", "parquet"]
