"""What ``alphapulse collect`` refuses; its processes are in tests/integration/producers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from producers.collect import main


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ALPHAPULSE_")]:
        monkeypatch.delenv(name)


def test_nothing_to_collect_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 2
    assert capsys.readouterr().err == "alphapulse collect: no venue is enabled (no configuration: give --config)\n"
    (tmp_path / "exchanges.toml").write_text('[venues.kraken]\nenabled = false\nsymbols = ["BTC-USD"]\n')
    monkeypatch.setenv("ALPHAPULSE_CONFIG", str(tmp_path))
    assert main([]) == 2
    assert f"no venue is enabled ([venues.…] of {tmp_path / 'exchanges.toml'})" in capsys.readouterr().err
    assert main(["kraken", "", "kraken"]) == 2
    head, off, empty = capsys.readouterr().err.splitlines()
    assert head == "alphapulse collect: 2 faults:"
    assert off == "  - kraken: disabled: [venues.kraken] has enabled = false"
    assert empty.startswith("  - '': unknown venue; known: ")


def test_faults_of_other_venues_are_told_but_not_that_they_lack_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "exchanges.toml").write_text(
        '[venues.kraken]\nsymbols = ["BTC-USD"]\ndepth = 9\n[venues.alpaca]\nsymbols = ["BTC-USD"]\n'
    )
    monkeypatch.setenv("ALPHAPULSE_CONFIG", str(tmp_path))
    assert main(["kraken"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "alphapulse collect: configuration refused, 2 faults:"
    assert [line.partition(": key ")[2].partition(":")[0] for line in told[1:]] == [
        "venues.kraken.depth",
        "venues.alpaca.symbols",
    ]
