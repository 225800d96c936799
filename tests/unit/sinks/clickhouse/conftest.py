"""The embedded engine for tests: opened once per process, because starting it is what costs; a database per test."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from alphapulse.config import ClickHouseSettings, Settings
from sinks.clickhouse.engine import Engine

_NUMBERS = itertools.count()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, clickhouse=ClickHouseSettings(database=f"test_{next(_NUMBERS)}"))


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Engine]:
    """The real chDB, open on a folder of the test's own."""
    made = Engine(settings)
    await made.open(asyncio.Event())
    yield made
    await made.close()
