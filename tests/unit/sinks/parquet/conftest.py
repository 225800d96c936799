from __future__ import annotations

import pytest

from sinks.parquet import local


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here has a reader that lists a folder while it is replaced, but where it says so."""
    monkeypatch.setattr(local, "LISTING_SECONDS", 0.0)
