"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["tests.fixtures.broker", "tests.fixtures.kafka_cluster"]

ROOT = Path(__file__).resolve().parent.parent

# No test is timed, these neither. `pytest --hypothesis-profile thorough -o timeout=0 tests/property` looks much longer.
settings.register_profile("default", deadline=None)
settings.register_profile("thorough", deadline=None, max_examples=5000)
settings.load_profile("default")


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings; tests that need it are skipped, saying so, where it is absent."""
    folder = Path(os.environ.get("ALPHAPULSE_RECORDINGS", ROOT.parent / "shared" / "recordings"))
    if not (folder / "expected.json").is_file():
        pytest.skip(f"no recordings at {folder}; set ALPHAPULSE_RECORDINGS to their folder")
    return folder
