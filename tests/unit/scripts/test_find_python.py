"""Which Python the virtual environment is made with."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scripts.find_python import choose, optimized, usable

OPTIMIZED = "'--prefix=/opt/python' '--enable-optimizations' '--with-lto'"


@pytest.fixture
def old(tmp_path: Path) -> str:
    """A Python that refuses what is asked of it."""
    program = tmp_path / "python3"
    program.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    program.chmod(0o755)
    return str(program)


def test_what_is_compiled_with_profiles() -> None:
    assert optimized("/opt/python/bin/python3", OPTIMIZED)
    assert optimized("/usr/bin/env", "'--enable-shared'")
    assert not optimized("/root/.pyenv/versions/3.12.1/bin/python3", "'--enable-shared'")


def test_what_makes_virtual_environments(old: str, tmp_path: Path) -> None:
    assert usable(sys.executable)
    assert not usable(old)
    assert not usable(str(tmp_path / "none"))


def test_the_systems_python_replaces_one_without_optimizations_or_an_old_one(old: str, tmp_path: Path) -> None:
    slow = str(tmp_path / "slow")
    assert choose(slow, "", sys.executable) == sys.executable
    assert choose(old, OPTIMIZED, sys.executable) == sys.executable


def test_otherwise_it_is_the_one_on_the_path(old: str, tmp_path: Path) -> None:
    assert choose(sys.executable, OPTIMIZED, old) == sys.executable
    slow = str(tmp_path / "slow")
    assert choose(slow, "", old) == slow
