"""A market that cannot be simulated is refused before anything starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from alphapulse import simulated
from alphapulse.cli.market import check_market
from alphapulse.errors import ServiceError
from tests.unit.alphapulse.cli.test_commands import command  # noqa: F401 a fixture


def test_names_that_cannot_be_simulated_are_told_with_what_was_meant(
    command: Any,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    folder = tmp_path / "demo"
    given = ("--venues", "krakn,alpaca", "--symbols", "BTC-USD", "--broker", "kafka", "--data-dir", str(folder))
    assert command("demo", *given) == 2
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "alphapulse: 2 faults:"
    assert told[1].startswith("  - --venues: 'krakn': unknown venue, did you mean kraken?; known: alpaca, binance, ")
    assert told[2].startswith("  - --symbols: alpaca: not a ticker: 'BTC-USD'")
    assert not folder.exists()


def test_others_can(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_market(["kraken", "okx"], ["BTC-USD", "X-EUR"]) == []
    monkeypatch.setattr(sys, "executable", os.devnull)  # the default market is not asked about
    assert check_market(simulated.VENUES.split(","), simulated.SYMBOLS.split(",")) == []


@pytest.mark.parametrize(
    ("done", "told"),
    [
        (subprocess.CompletedProcess([], 1, "", "Traceback\nImportError: no"), "producers.simulator: ImportError: no"),
        (subprocess.CompletedProcess([], -9, "", ""), "producers.simulator: exit code -9"),
        (subprocess.CompletedProcess([], 2, "", "usage\nno such option"), "producers.simulator: no such option"),
    ],
)
def test_no_answer_is_no_consent(
    monkeypatch: pytest.MonkeyPatch, done: subprocess.CompletedProcess[str], told: str
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(ServiceError, match=told):
        check_market(["kraken"], ["BTC-USD"])
