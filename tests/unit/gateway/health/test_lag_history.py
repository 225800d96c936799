from __future__ import annotations

from aiokafka import TopicPartition

from gateway.health.lag_history import NOTES_KEPT, LagHistory

P = TopicPartition("md.l2", 0)
Q = TopicPartition("md.l2", 1)


def test_a_reader_at_the_end_is_not_behind() -> None:
    history = LagHistory()
    assert history.seconds(P, 0, 5.0) == 0
    history.note({P: 10}, 1.0)
    assert history.seconds(P, 10, 100.0) == 0
    assert history.seconds(Q, 0, 100.0) == 0


def test_the_oldest_unread_record_tells_the_seconds() -> None:
    history = LagHistory()
    for second, end in enumerate((10, 20, 30, 30, 40)):
        history.note({P: end}, float(second))
    assert history.seconds(P, 9, 10.0) == 10, "there when the end was noted first"
    assert history.seconds(P, 10, 10.0) == 9
    assert history.seconds(P, 19, 10.0) == 9
    assert history.seconds(P, 29, 10.0) == 8
    assert history.seconds(P, 30, 10.0) == 6, "at least: it came between the third and the fourth second"
    assert history.seconds(P, 39, 3.9) == 0, "a clock that is behind gives nothing negative"


def test_a_stopped_reader_falls_behind_though_nothing_is_written_any_more() -> None:
    history = LagHistory()
    history.note({P: 10}, 0.0)
    for second in range(1, 100):
        history.note({P: 11}, float(second))
    assert history.seconds(P, 10, 100.0) == 99


def test_the_history_is_bounded_and_gets_coarser_backwards() -> None:
    history = LagHistory()
    for second in range(10_000):
        history.note({P: second}, float(second))
    assert len(history._ends[P]) <= NOTES_KEPT
    assert history.seconds(P, 9_990, 10_000.0) == 9
    for position in range(9_999):
        true = 10_000 - (position + 1)
        assert 0.85 * true <= history.seconds(P, position, 10_000.0) <= true, "never more than it is"


def test_a_broker_that_begins_anew_starts_a_new_history() -> None:
    history = LagHistory()
    history.note({P: 1000}, 0.0)
    history.note({P: 5}, 50.0)
    assert history.seconds(P, 0, 60.0) == 10
