from __future__ import annotations

from pathlib import Path

import pytest

from alphapulse import service
from producers.__main__ import main


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALPHAPULSE_DATA_DIR", str(tmp_path / "data"))
    return tmp_path


def config(folder: Path, text: str) -> str:
    (folder / "exchanges.toml").write_text(text)
    return str(folder)


@pytest.mark.parametrize(
    ("venue", "text", "told"),
    [
        ("krakn", "", "venues.krakn: unknown venue; known: "),
        ("kraken", '[venues.coinbase]\nsymbols = ["BTC-USD"]', "venues.kraken: not configured (configured: coinbase)"),
        ("kraken", '[venues.kraken]\nsymbol = ["BTC-USD"]', "key venues.kraken.symbol: unknown key"),
    ],
)
def test_what_cannot_be_collected_is_told_in_one_message(
    data: Path, capsys: pytest.CaptureFixture[str], venue: str, text: str, told: str
) -> None:
    assert main([venue, "--config", config(data, text)]) == service.EXIT_REFUSED
    assert told in capsys.readouterr().err


def test_a_broker_that_cannot_be_reached_is_told(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = config(data, '[venues.kraken]\nsymbols = ["BTC-USD"]\n[kafka]\nbootstrap = "127.0.0.1:1"')
    assert main(["kraken", "--name", "collector-x", "--config", folder]) == service.EXIT_REFUSED
    assert "127.0.0.1:1" in capsys.readouterr().err
