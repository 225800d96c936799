from __future__ import annotations

import pytest
from aiokafka import TopicPartition

from alphapulse import topics
from alphapulse.errors import ServiceError
from sinks.clickhouse.plan import InsertGroup, plan_text, read_plan
from sinks.contract import Span

KEYS = [TopicPartition(topics.TRADES, number) for number in range(4)]


def test_plans_are_read_as_they_were_written() -> None:
    spans = (Span(KEYS[0], 5, 9), Span(KEYS[3], 0, 2**40))
    assert read_plan(topics.TRADES, plan_text(InsertGroup(spans))) == spans
    assert read_plan(topics.TRADES, "") == ()


@pytest.mark.parametrize("text", ["v2 0:1-2", "nonsense", "v1 ", "v1 0:1", "v1 x:1-2"])
def test_a_plan_of_another_release_is_refused(text: str) -> None:
    with pytest.raises(ServiceError, match="a plan of another release"):
        read_plan(topics.TRADES, text)


def test_a_plan_fits_a_commit() -> None:
    spans = tuple(Span(TopicPartition("x", 999), 2**50, 2**51) for _ in range(50))
    assert len(plan_text(InsertGroup(spans))) < 4096
