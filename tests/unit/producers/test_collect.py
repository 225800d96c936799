"""What ``alphapulse collect`` refuses; its processes are in tests/integration/producers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from alphapulse.config import Settings
from alphapulse.supervisor.supervisor import ChildSpec, variables_of
from producers.collect import Collectors, main
from producers.collector import rules


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


class Started:
    """Stands for a supervisor: keeps what it is to start."""

    def __init__(self) -> None:
        self.specs: list[ChildSpec] = []

    async def start(self, spec: ChildSpec) -> None:
        self.specs.append(spec)


async def test_secrets_in_files_stay_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector follows them, and neither its environment nor that of its successors has them."""
    (tmp_path / "exchanges.toml").write_text('[venues.alpaca]\nsymbols = ["AAPL"]\n')
    monkeypatch.setenv("ALPHAPULSE_CONFIG", str(tmp_path))
    monkeypatch.setenv("ALPHAPULSE_KAFKA__BOOTSTRAP", "kafka:9093")
    names = (
        "ALPHAPULSE_KAFKA__SASL_USERNAME",
        "ALPHAPULSE_KAFKA__SASL_PASSWORD",
        "ALPHAPULSE_VENUES__ALPACA__KEY",
        "ALPHAPULSE_VENUES__ALPACA__SECRET",
    )
    for name in names:
        (tmp_path / name).write_text("hush\n")
        monkeypatch.setenv(f"{name}_FILE", str(tmp_path / name))
    settings: Settings = rules.load(tmp_path, own=["alpaca"])
    supervisor = Started()
    await Collectors(supervisor, settings, tmp_path).go_over_to(["alpaca"])  # type: ignore[arg-type]
    (spec,) = supervisor.specs
    variables = variables_of(spec.settings, spec.variables)
    assert {name: variables[f"{name}_FILE"] for name in names} == {name: str(tmp_path / name) for name in names}
    assert variables["ALPHAPULSE_KAFKA__BOOTSTRAP"] == "kafka:9093"
    assert not variables.keys() & set(names)
    assert "hush" not in variables.values()
    for name in names:
        monkeypatch.delenv(f"{name}_FILE")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    read = rules.load(tmp_path, own=["alpaca"])
    assert read.kafka.sasl_password.get_secret_value() == read.venues["alpaca"].secret.get_secret_value() == "hush"
