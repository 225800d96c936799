from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alphapulse.recent import RecentIds


def test_an_id_is_new_once() -> None:
    ids = RecentIds[str](3)
    assert [ids.add(one) for one in ("a", "b", "a")] == [True, True, False]
    assert "a" in ids
    assert "c" not in ids
    assert len(ids) == 2


def test_the_oldest_makes_room_and_is_new_again() -> None:
    ids = RecentIds(3, (1, 2, 3))
    assert ids.add(4)
    assert list(ids) == [2, 3, 4]
    assert 1 not in ids
    assert ids.add(1)
    assert list(ids) == [3, 4, 1]


def test_a_repetition_makes_no_id_younger() -> None:
    ids = RecentIds(2, (1, 2))
    assert not ids.add(1)
    assert ids.add(3)
    assert list(ids) == [2, 3]


def test_of_too_many_to_begin_with_the_newest_are_kept() -> None:
    assert list(RecentIds(2, (1, 2, 3, 2))) == [2, 3]


@given(st.lists(st.integers(0, 8), max_size=100), st.integers(1, 5))
def test_it_holds_the_last_ids_that_were_new(given_ids: list[int], most: int) -> None:
    ids, expected = RecentIds[int](most), list[int]()
    for one in given_ids:
        assert ids.add(one) == (one not in expected)
        if one not in expected:
            expected = [*expected, one][-most:]
        assert list(ids) == expected
        assert len(ids) == len(expected)
    assert list(RecentIds(most, ids)) == expected
