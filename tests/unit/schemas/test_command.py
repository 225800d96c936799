"""``python -m schemas``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.__main__ import main
from tests.fixtures.schema_registry import registry_server

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ALPHAPULSE_")]:
        monkeypatch.delenv(name)


def test_register_locally_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["register"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("md.trades-value: id ")
    assert lines[-1].startswith("registry.url is not set")


def test_register_remotely(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with registry_server() as server:
        (tmp_path / "services.toml").write_text(f'[registry]\nurl = "{server.url}"\n')
        assert main(["register", "--config", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["md.trades-value: id 1", "md.l2-value: id 2"]
    assert set(server.compatibility.values()) == {"BACKWARD_TRANSITIVE"}
    assert len(server.versions) == 9


def test_a_refusal_is_one_message(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ALPHAPULSE_REGISTRY__URL", "registry:8081")
    assert main(["register"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("alphapulse schemas register: configuration refused, 1 fault:\n")
    assert "registry.url: must be https://host or http://host" in told.err


def test_check_against_nothing_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--against", "no-such-revision"]) == 2
    assert capsys.readouterr().err.startswith(
        "alphapulse schemas check: no-such-revision: neither a folder nor a git revision"
    )


def test_as_a_process(tmp_path: Path) -> None:
    for file in (ROOT / "schemas" / "avro").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    trade = tmp_path / "trade.avsc"
    trade.write_text(trade.read_text().replace('"trade_id"', '"id"'))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "schemas", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    done = run("check", "--against", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "alphapulse schemas check: incompatible schemas:",
        f"  - {tmp_path}: alphapulse.Trade.id: removed or renamed",
        f"  - {tmp_path}: alphapulse.Trade.trade_id: added without a default, but records written before need one",
    ]
    assert run("check", "--against", "schemas/avro").returncode == 0
    released = run("check")
    assert (released.returncode, released.stderr) == (0, "")
    assert released.stdout.startswith("0.1.0: 9 schemas, compatible\n")
    assert run().returncode == 2
