"""What all scripts share that make files of code."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
generated = importlib.import_module("generated")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(generated, "ROOT", tmp_path)
    return tmp_path


def script(
    monkeypatch: pytest.MonkeyPatch, made: dict[Path, str], *arguments: str, others: tuple[str, ...] = ()
) -> int:
    """Return the exit code of a script that makes ``made``."""
    monkeypatch.setattr(sys, "argv", ["script", *arguments])
    code: int = generated.run("Makes files.", lambda: made, "scripts/some.py", others=lambda: others)
    return code


def test_written_is_what_the_check_wants(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = {folder / "page.md": "a\n", folder / "deep" / "er.json": "{}\n"}
    assert script(monkeypatch, made, "--check") == 1
    assert capsys.readouterr() == (
        "",
        "page.md is out of date; run scripts/some.py\ndeep/er.json is out of date; run scripts/some.py\n",
    )
    assert list(folder.iterdir()) == [], "a check writes nothing"
    assert script(monkeypatch, made) == 0
    assert (folder / "deep" / "er.json").read_text(encoding="utf-8") == "{}\n"
    assert script(monkeypatch, made, "--check") == 0
    assert capsys.readouterr() == ("", "")
    made[folder / "page.md"] += "more\n"
    assert script(monkeypatch, made, "--check") == 1
    assert capsys.readouterr().err == "page.md is out of date; run scripts/some.py\n"


def test_other_faults_are_told_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script(monkeypatch, {}, "--check", others=("copy.md is a copy of nothing",)) == 1
    assert capsys.readouterr().err == "copy.md is a copy of nothing\n"
    assert script(monkeypatch, {}, others=("of no matter where it is written",)) == 0


def test_another_argument_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The AsyncAPI script once wrote its file for whatever was not ``--check``."""
    with pytest.raises(SystemExit, match="2"):
        script(monkeypatch, {}, "--verify")
