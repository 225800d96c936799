from __future__ import annotations

from gateway.v2.history import History


def test_the_oldest_go_first_by_number_and_by_size() -> None:
    history = History[int](records=3, size=100)
    for position in range(5):
        history.add(position, b"x" * 10)
    assert [kept.position for kept in history] == [2, 3, 4]
    assert (len(history), history.bytes, history.last) == (3, 30, 4)
    history.add(5, b"x" * 85)
    assert [kept.position for kept in history] == [4, 5]
    history.add(6, b"x" * 101)
    assert (len(history), history.bytes, history.last) == (0, 0, None)


def test_what_follows_a_position_is_found() -> None:
    history = History[str]()
    for name in "abcb":
        history.add(name, name.upper().encode())
    assert history.after("a") == [b"B", b"C", b"B"]
    assert history.after("b") == [], "the newest of the name"
    assert history.after("x") is None
    assert (history.at("c"), history.at("x")) == (b"C", None)
    assert [kept.position for kept in reversed(history)] == list("bcba")
    history.clear()
    assert history.after("a") is None
