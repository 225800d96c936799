from __future__ import annotations

from pathlib import Path

import pytest

from producers import check

ROOT = Path(__file__).resolve().parents[3]


def test_the_command_tells_what_is_configured_or_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALPHAPULSE_CONFIG", str(ROOT / "deploy" / "config"))
    assert check.main() == 0
    assert "\n  kraken: BTC-USD, ETH-USD, SOL-USD\n" in capsys.readouterr().out
    (tmp_path / "exchanges.toml").write_text("[venues.kraken]\ndepth = 7\n")
    monkeypatch.setenv("ALPHAPULSE_CONFIG", str(tmp_path))
    assert check.main() == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("alphapulse check: configuration refused, 2 faults:\n  - ")
