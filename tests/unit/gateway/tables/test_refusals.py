"""Pauses after a refused access: of one query, or of all."""

from __future__ import annotations

from gateway.tables import TablesUnavailable
from gateway.tables.refusals import RefusedAccess

FIRST, SECOND = "SELECT 1", "SELECT 2"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def sent(access: RefusedAccess, query: str) -> bool:
    try:
        access.check(query)
    except TablesUnavailable:
        return False
    return True


def test_pauses_grow_up_to_ten_seconds_and_end_with_an_answer() -> None:
    clock = Clock()
    access = RefusedAccess(clock)
    pauses = []
    for _ in range(7):
        assert sent(access, FIRST)
        access.refused(None)
        began = clock.now
        while not sent(access, SECOND):
            clock.now += 0.25
        pauses.append(clock.now - began)
    assert pauses == [0.5, 1, 2, 5, 10, 10, 10]
    access.answered(FIRST)
    access.refused(None)
    clock.now += 0.5
    assert sent(access, FIRST)


def test_a_missing_right_stops_its_query_only() -> None:
    clock = Clock()
    access = RefusedAccess(clock)
    access.refused(FIRST)
    assert not sent(access, FIRST)
    assert sent(access, SECOND)
    access.answered(SECOND)
    assert not sent(access, FIRST)
    access.answered(FIRST)
    assert sent(access, FIRST)


def test_what_is_remembered_is_bounded() -> None:
    access = RefusedAccess(Clock())
    for number in range(1_000):
        access.refused(f"SELECT {number}")
    assert len(access._pauses) <= 100
    assert not sent(access, "SELECT 999")
