from __future__ import annotations

from types import SimpleNamespace

from stream_processors.engine.deliveries import Batch, Deliveries


def batch(*offsets: int) -> Batch:
    return Batch([SimpleNamespace(offset=offset) for offset in offsets])


def test_nothing_is_committable_before_an_acknowledgement() -> None:
    deliveries = Deliveries()
    assert deliveries.committable() is None
    deliveries.add(batch(0, 1, 2))
    assert deliveries.committable() is None
    assert len(deliveries) == 1


def test_a_batch_acknowledged_out_of_turn_waits_for_those_before_it() -> None:
    deliveries = Deliveries()
    first, second, third = batch(0, 1), batch(2, 3), batch(4)
    for one in (first, second, third):
        deliveries.add(one)
    second.acked = True
    assert deliveries.committable() is None
    first.acked = True
    assert deliveries.committable() == 4
    assert deliveries.committable() == 4
    third.acked = True
    assert deliveries.committable() == 5
    assert len(deliveries) == 0


def test_offsets_that_do_not_exist_are_no_gap() -> None:
    deliveries = Deliveries()
    first, second = batch(3, 7, 8), batch(20)
    deliveries.add(first)
    deliveries.add(second)
    first.acked = second.acked = True
    assert deliveries.committable() == 21


def test_what_was_done_earlier_is_committable_at_once() -> None:
    deliveries = Deliveries()
    deliveries.begin(7)
    assert deliveries.committable() == 7
    first = batch(7, 8)
    deliveries.add(first)
    assert deliveries.committable() == 7
    first.acked = True
    assert deliveries.committable() == 9


def test_a_batch_knows_its_size() -> None:
    assert len(batch(5, 6, 7)) == 3
    assert batch(5, 6, 9).next_offset == 10
