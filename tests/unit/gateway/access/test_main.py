from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from alphapulse.errors import ValueRefused
from gateway.access.__main__ import expiry, run
from gateway.access.keys import read

NOW = 1_800_000_000 * 10**9  # 2027-01-15T08:00:00Z


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ALPHAPULSE_DATA_DIR", str(tmp_path))


def create(*options: str) -> int:
    return run(["create", "desk-1", "--scope", "stream:*:kraken", "--scope", "rest:market", *options])


def test_a_key_is_shown_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert create("--expires", "90d") == 0
    shown = capsys.readouterr()
    assert re.fullmatch(r"apk_[\w-]{43}\n", shown.out)
    assert "shown once" in shown.err
    assert shown.out.strip() not in shown.err
    (key,) = read(tmp_path / "access" / "keys.json").keys
    assert (key.name, key.scopes) == ("desk-1", ("stream:*:kraken", "rest:market"))
    assert key.expires is not None
    assert abs(key.expires - time.time_ns() - 90 * 86_400 * 10**9) < 60 * 10**9
    assert run(["list"]) == 0
    listed = capsys.readouterr().out
    assert key.id in listed
    assert "active" in listed
    assert shown.out.strip() not in listed


def test_revoking(capsys: pytest.CaptureFixture[str]) -> None:
    create()
    assert run(["revoke", "desk-1"]) == 0
    run(["list"])
    assert re.search(r"desk-1 +[0-9a-f]{12} +revoked ", capsys.readouterr().out)
    assert run(["revoke", "desk-1"]) == 2
    assert "'desk-1': no active key has this name" in capsys.readouterr().err


def test_another_data_directory(tmp_path: Path) -> None:
    create("--data-dir", str(tmp_path / "other"))
    assert (tmp_path / "other" / "access" / "keys.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "a b", "--scope", "rest:market"], "name 'a b'"),
        (["create", "a", "--scope", "rest:everything"], "scope 'rest:everything': unknown"),
        (["create", "a", "--scope", "rest:market", "--expires", "soon"], "--expires 'soon': expected"),
        (["create", "a", "--scope", "rest:market", "--expires", "2020-01-01"], "in the past"),
    ],
)
def test_refusals(arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "access").exists()


def test_expiry() -> None:
    assert expiry("12h", NOW) == NOW + 12 * 3600 * 10**9
    assert expiry("2027-01-16", NOW) == NOW + 16 * 3600 * 10**9
    assert expiry("2027-01-15T09:00:01+01:00", NOW) == NOW + 10**9
    for text in ("0d", "1w", "-1d", "99999999d", ""):
        with pytest.raises(ValueRefused):
            expiry(text, NOW)
