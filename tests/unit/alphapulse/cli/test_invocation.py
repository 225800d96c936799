"""alphapulse.cli.invocation"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from alphapulse.cli.invocation import command


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_on_the_path_its_name_is_enough(found: Path) -> None:
    (found / "alphapulse").touch(mode=0o755)
    assert command(".venv/bin/alphapulse") == "alphapulse"


@pytest.mark.usefixtures("found")
@pytest.mark.parametrize(
    ("started_as", "typed"),
    [
        (".venv/bin/alphapulse", ".venv/bin/alphapulse"),
        ("/my programs/alphapulse", "'/my programs/alphapulse'"),
        ("/src/alphapulse/cli/__main__.py", f"{sys.executable} -m alphapulse.cli"),
    ],
)
def test_elsewhere_it_is_typed_as_it_was_started(started_as: str, typed: str) -> None:
    assert command(started_as) == typed
