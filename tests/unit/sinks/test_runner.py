from __future__ import annotations

import pytest

from sinks.__main__ import main
from sinks.runner import fetch_wait_ms, unread_text


def test_an_unknown_target_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["postgres"])
    assert "invalid choice: 'postgres'" in capsys.readouterr().err


@pytest.mark.parametrize(("batch_seconds", "wait_ms"), [(1.0, 500), (60.0, 500), (0.3, 150), (0.0001, 1)])
def test_a_fetch_waits_half_as_long_as_a_batch_at_most(batch_seconds: float, wait_ms: int) -> None:
    assert fetch_wait_ms(batch_seconds) == wait_ms


def test_what_is_left_unread_is_told_by_topic() -> None:
    text = unread_text({"md.trades": 3, "md.l2": 12_000})
    assert text == "stopped with 12,003 records unread: md.l2 12,000, md.trades 3"
