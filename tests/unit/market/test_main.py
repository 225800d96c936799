"""python -m tests.market"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.market.__main__ import main
from tests.market.table import BOOK, GROUPS, PRICES, Row, cell, number, table
from tests.recordings import ours, real


def beside(recording: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """Return the rows of the table of ``recording``: name → recorded, simulated."""
    assert main([str(recording), "--seconds", "20"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"### {recording.name}: ")
    assert lines[2] == "| | unit | recorded | simulated |"
    rows = [line.strip("| ").split(" | ") for line in lines[4:] if line]
    return {row[0]: row[2:] for row in rows}


def test_a_recording_stands_beside_its_simulation(capsys: pytest.CaptureFixture[str]) -> None:
    rows = beside(ours("coinbase").path, capsys)
    assert rows["length"][1] == "20"
    assert rows["time with the venue's own book crossed"] == ["0", "0"]
    assert rows["orders at the best price that the book had shown"][1] == "100"


@pytest.mark.skipif(real() is None, reason="the real recordings are not present")
def test_a_real_recording_stands_beside_its_simulation(capsys: pytest.CaptureFixture[str]) -> None:
    folder = real()
    assert folder is not None
    rows = beside(folder / "coinbase_exchange_20210417.rec.gz", capsys)
    assert rows["spread, median"][0] == "15.6 (9.11 … 18.1)"
    assert rows["length"][0] == "30.7 (30.7 … 30.8)"
    assert rows["time with the venue's own book crossed"] == ["0", "0"]


def test_a_simulated_market_shows_its_crosses(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--venues", "kraken,binance", "--symbols", "BTC-USD,SHIB-USD", "--seconds", "60", "--rate", "10"]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    assert "| | unit | kraken BTC-USD | kraken SHIB-USD | binance BTC-USD | binance SHIB-USD |" in first
    assert "| time with a cross after the demo's taker fees | % |" in first
    assert main(arguments) == 0
    assert capsys.readouterr().out == first


def test_of_many_symbols_the_median_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    symbols = ",".join(f"COIN{number}-USD" for number in range(8))
    assert main(["--venues", "kraken,okx", "--symbols", symbols, "--seconds", "20", "--rate", "5"]) == 0
    out = capsys.readouterr().out
    assert "### Simulated: 8 symbols on kraken, okx" in out
    assert "| | unit | kraken | okx |" in out
    assert "| Crosses between venues | unit | 8 symbols |" in out


@pytest.mark.parametrize("arguments", [[], ["--venues", "kraken"], ["--symbols", "BTC-USD"]])
def test_nothing_to_do(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["/nowhere.rec"], "/nowhere.rec"), (["--venues", "mtgox", "--symbols", "BTC-USD"], "unknown venue: 'mtgox'")],
)
def test_what_cannot_be_had_is_told(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_cells_and_numbers() -> None:
    share, plain = Row("x", "a share", "%"), Row("x", "a number")
    assert cell(share, [{"x": 0.5}]) == "50"
    assert cell(plain, [{"x": None}]) == "–"
    assert cell(plain, [{"x": 1.0}, {"x": None}]) == "1"
    assert cell(plain, [{"x": 1.0}, {"x": 2.0}, {"x": 5.0}]) == "2 (1 … 5)"
    assert [number(value) for value in (0, 0.00012, 0.01234, 1.234, 99.4, 1234.5)] == [
        "0",
        "1e-04",
        "0.0123",
        "1.23",
        "99.4",
        "1,234",
    ]


def test_a_table_has_a_line_for_each_row() -> None:
    figures = dict.fromkeys([row.key for rows in GROUPS.values() for row in rows])
    lines = table({"one": [figures], "two": [figures]})
    assert len(lines) == 2 + sum(1 + len(rows) for rows in GROUPS.values())
    assert {line.count("|") for line in lines} == {5}
    assert PRICES[0].key != BOOK[0].key
