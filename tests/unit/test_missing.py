"""What is missing skips a test, and fails it in CI."""

from __future__ import annotations

import pytest

from tests.fixtures.missing import missing


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_what_is_missing(ci: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="no such program"):
        missing("no such program")
