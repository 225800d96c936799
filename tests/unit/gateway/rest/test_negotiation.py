from __future__ import annotations

import pytest

from gateway.rest.negotiation import ARROW, CSV, JSON, PARQUET, NotAcceptable, chosen


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("text/html,application/xhtml+xml,*/*;q=0.8", JSON),
        ("text/csv", CSV),
        ("TEXT/CSV; charset=utf-8", CSV),
        ("text/*", CSV),
        ("text/csv;q=0.5, application/vnd.apache.parquet", PARQUET),
        ("application/json;q=0, */*", CSV),
        ("application/vnd.apache.arrow.stream;q=0.2, text/csv;q=0.1", ARROW),
        ("application/*;q=0.5, application/vnd.apache.parquet", PARQUET),
    ],
)
def test_the_best_of_what_the_client_accepts(accept: str | None, kind: str) -> None:
    assert chosen(accept) == kind


@pytest.mark.parametrize(
    "accept", ["text/html", "application/json;q=0", "text/csv;q=none", ";;,", "application/json;q=x"]
)
def test_nothing_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="header Accept"):
        chosen(accept)
