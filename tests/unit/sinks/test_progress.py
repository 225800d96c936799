from __future__ import annotations

from dataclasses import dataclass

from sinks.progress import Progress


@dataclass(frozen=True)
class At:
    offset: int


def at(*offsets: int) -> list[At]:
    return [At(offset) for offset in offsets]


def test_takes_what_is_new_and_counts_what_is_not() -> None:
    progress = Progress(committed=10, next=10)
    assert [progress.span] == [None]
    assert progress.take(at(10, 11, 12)) == (at(10, 11, 12), 0, False)
    assert progress.take(at(11, 12, 13)) == (at(13), 2, False)
    assert progress.take(at(12)) == ([], 1, False)
    assert progress.span == (10, 13)
    assert progress.messages == 4


def test_a_seal_ends_the_span_and_the_next_begins_behind_it() -> None:
    progress = Progress(committed=10, next=10, known=False)
    progress.take(at(10, 11))
    assert progress.seal() == 2
    assert (progress.committed, progress.span, progress.messages, progress.known) == (10, None, 0, False)
    progress.take(at(12, 13, 14))
    assert (progress.span, progress.messages) == ((12, 14), 3)
    progress.commit()
    assert (progress.committed, progress.span, progress.messages, progress.known) == (12, (12, 14), 3, True)
    assert progress.seal() == 3
    progress.commit()
    assert (progress.committed, progress.span) == (15, None)


def test_a_planned_span_is_cut_where_the_plan_ends() -> None:
    progress = Progress(committed=10, next=10, planned=12)
    assert (progress.recovering, progress.incomplete) == (True, True)
    assert progress.take(at(10, 11)) == (at(10, 11), 0, False)
    assert (progress.recovering, progress.incomplete) == (True, True)
    assert progress.take(at(12, 13, 14)) == (at(12), 0, True)
    assert (progress.recovering, progress.incomplete) == (True, False)
    assert progress.span == (10, 12)
    assert progress.seal() == 3
    assert (progress.recovering, progress.next) == (False, 13)
    assert progress.take(at(13, 14)) == (at(13, 14), 0, False)
    progress.commit()
    assert (progress.committed, progress.span) == (13, (13, 14))


def test_a_planned_span_that_ends_with_a_message_is_complete() -> None:
    progress = Progress(committed=10, next=10, planned=11)
    assert progress.take(at(10, 11)) == (at(10, 11), 0, False)
    assert (progress.recovering, progress.incomplete) == (True, False)


def test_a_planned_span_of_which_the_broker_has_dropped_the_end_is_complete() -> None:
    progress = Progress(committed=10, next=10, planned=12)
    assert progress.take(at(10, 20)) == (at(10), 0, True)
    assert (progress.recovering, progress.incomplete) == (True, False)
    assert progress.span == (10, 12)
    assert progress.next == 13


def test_gaps_belong_to_the_span() -> None:
    progress = Progress(committed=10, next=10)
    progress.take(at(15, 17))
    assert progress.span == (10, 17)
    assert progress.messages == 2
