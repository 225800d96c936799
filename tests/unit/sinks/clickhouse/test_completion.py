from __future__ import annotations

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from sinks.clickhouse.completion import SqlCompleter, Words
from sinks.clickhouse.library import library
from sinks.clickhouse.shell import complete

WORDS = Words(
    {"trades": ["venue", "symbol", "price"], "l2": ["venue", "kind"]}, ("SELECT", "FROM"), ("sum", "sumIf"), library()
)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("oh", ["ohlcv"]),
        ("he", ["help"]),
        ("ohlcv s", ["symbol=", "seconds=", "since="]),
        ("ohlcv symbol=BTC-USD u", ["until="]),
        ("list ga", ["gaps"]),
        ("SELECT * FROM t", ["trades"]),
        ("select p from trades where k", []),
        ("SELECT * FROM trades WHERE p", ["price"]),
        ("SELECT t.p FROM trades AS t WHERE t.s", ["symbol"]),
        ("SELECT x.s", []),
        ("SELECT su", ["sum", "sumIf"]),
        ("SELECT * FROM l2 WHERE k", ["kind"]),
    ],
)
def test_what_fits_the_place(typed: str, offered: list[str]) -> None:
    found = SqlCompleter(WORDS).get_completions(Document(typed), CompleteEvent())
    assert [one.text for one in found] == offered


@pytest.mark.parametrize(
    ("typed", "runs"),
    [
        ("SELECT 1", False),
        ("SELECT 1;", True),
        ("SELECT 1;  ", True),
        ("SELECT 1\nFROM x", False),
        ("SELECT 1\n", True),
        ("", True),
        ("exit", True),
        ("ohlcv symbol=X", True),
        ("ohlcvx", False),
    ],
)
def test_when_enter_runs_it(typed: str, runs: bool) -> None:
    assert complete(typed) is runs
