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
        ("krakn", "", "collector-krakn: 'krakn': unknown venue, did you mean kraken?; known: "),
        ("kraken", '[venues.coinbase]\nsymbols = ["BTC-USD"]', "exchanges.toml; configured: coinbase\n"),
        ("kraken", '[venues.kraken]\nsymbol = ["BTC-USD"]', "key venues.kraken.symbol: unknown key"),
    ],
)
def test_what_cannot_be_collected_is_told_in_one_message(
    data: Path, capsys: pytest.CaptureFixture[str], venue: str, text: str, told: str
) -> None:
    assert main([venue, "--config", config(data, text)]) == service.EXIT_REFUSED
    assert told in capsys.readouterr().err
