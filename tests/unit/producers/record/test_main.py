"""producers.record.__main__"""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from producers.record.__main__ import main, parser, positive


def test_defaults() -> None:
    options = parser().parse_args(["kraken", "binance"])
    assert options.venues == ["kraken", "binance"]
    assert (str(options.out), options.rotate_mb, options.rotate_minutes) == ("data/recordings", 256.0, 60.0)
    for wrong in ("0", "x", "-1", "inf"):
        with pytest.raises(argparse.ArgumentTypeError, match="is not a number greater than 0"):
            positive(wrong)


def test_venues_that_are_not_configured_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALPHAPULSE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ALPHAPULSE_VENUES", '{"kraken":{"symbols":["BTC-USD"]}}')
    assert main(["mtgox", "kraken", "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert told.startswith("record: 'mtgox': unknown venue; known: ")
    assert "{" not in told  # no log before it
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    assert main(["kraken", "--out", str(in_the_way)]) == 2
    assert capsys.readouterr().err == f"record: --out: cannot write {in_the_way}: File exists\n"
