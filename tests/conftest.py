"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest_plugins = ["tests.fixtures.broker"]

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings; tests that need it are skipped, saying so, where it is absent."""
    folder = Path(os.environ.get("ALPHAPULSE_RECORDINGS", ROOT.parent / "shared" / "recordings"))
    if not (folder / "expected.json").is_file():
        pytest.skip(f"no recordings at {folder}; set ALPHAPULSE_RECORDINGS to their folder")
    return folder
