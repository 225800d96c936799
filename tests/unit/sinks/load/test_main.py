from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from sinks.load.__main__ import main
from sinks.load.progress import WIDTH, Shown
from tests.fixtures.vendor_truth import FILES

HEAD = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount"
GOOD = "kraken,XBT/USD,1612137600123456,1612137600234567,{},buy,1.5,2"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.csv"
    rows = [GOOD.format(number) if number % 10 else GOOD.format(number).replace("1.5", "one") for number in range(300)]
    path.write_text("\n".join([HEAD, *rows, ""]), encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ALPHAPULSE_DATA_DIR", "unused")
    return str(tmp_path / "data")


def test_a_bad_row_stops_the_load_before_anything_is_written(
    broken: Path, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["csv", str(broken), "--data-dir", data]) == 1
    out = capsys.readouterr().out
    assert f"{broken}:2: price: not a decimal number: 'one'\n" in out
    assert "and 10 more bad rows" in out
    assert "nothing was loaded" in out
    assert not Path(data, "clickhouse").exists()


def test_bad_rows_are_left_out_and_written_down(broken: Path, data: str, capsys: pytest.CaptureFixture[str]) -> None:
    for stored, present in ((270, 0), (0, 270)):
        assert main(["csv", str(broken), "--data-dir", data, "--on-error", "skip", "--json"]) == 1
        told = json.loads(capsys.readouterr().out)["files"][0]
        assert (told["stored"], told["present"], told["bad"]) == (stored, present, 30)
        rejects = Path(told["rejects"])
        assert rejects == broken.with_name("broken.csv.rejects.csv")
        head, *rows = csv.reader(rejects.read_text(encoding="utf-8").splitlines())
        assert head == ["file", "line", "column", "reason", "row"]
        assert [int(row[1]) for row in rows] == list(range(2, 302, 10))
        assert rows[0] == [
            str(broken),
            "2",
            "price",
            "not a decimal number: 'one'",
            GOOD.format(0).replace("1.5", "one"),
        ]


def test_a_file_of_somebody_else_is_not_replaced(
    broken: Path, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_text("precious\n", encoding="utf-8")
    arguments = ["csv", str(broken), "--data-dir", data, "--on-error", "skip", "--rejects", str(mine)]
    assert main(arguments) == 2
    assert "is no file of rejects" in capsys.readouterr().err
    assert mine.read_text(encoding="utf-8") == "precious\n"


def test_a_dry_run_says_what_would_be_loaded_and_writes_nothing(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = FILES / "bitstamp_incremental_book_L2_2021-02-01_BTCUSD.csv"
    assert main(["csv", str(path), "--data-dir", data, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "6 records would be loaded into tables; nothing was written" in out
    assert "no snapshot before them" in out
    assert max(len(line) for line in out.splitlines() if str(path) not in line) <= WIDTH
    assert not Path(data).exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--symbol", "btc"], "--symbol btc: not a canonical symbol"),
        (["--symbol", "BTC-USD", "--symbol", "ETH-USD"], "cannot all be the symbol of every row"),
        (["--venue", "Kraken"], "--venue: not a venue name"),
        ([str(FILES / "missing.csv")], "missing.csv: cannot be read: No such file"),
        ([str(FILES / "README.md")], "README.md:1: no known format"),
        ([str(FILES / "BTCUSDT-trades-2025-01-01.csv")], "named twice"),
    ],
)
def test_wrong_arguments_are_told(
    arguments: list[str], told: str, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["csv", str(FILES / "BTCUSDT-trades-2025-01-01.csv"), *arguments, "--data-dir", data]) == 2
    error = capsys.readouterr().err
    assert error.startswith("alphapulse load: ")
    assert told in error


def test_without_a_terminal_progress_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter(range(0, 1000, 4))
    with Shown(clock=lambda: next(times)) as shown:
        shown.begin("loading", "a-file-with-a-name-that-is-longer-than-a-terminal-is-wide.csv.gz", 1000)
        for part in range(10):
            shown.at(part * 100, part * 12_345_678)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "loading a-file-with-a-name-that…: 20 %, 24,691,356 rows",
        "loading a-file-with-a-name-that…: 50 %, 61,728,390 rows",
        "loading a-file-with-a-name-that…: 80 %, 98,765,424 rows",
    ]
    assert max(map(len, lines)) <= WIDTH
