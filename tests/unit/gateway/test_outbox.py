from __future__ import annotations

from collections.abc import Sequence

from gateway.outbox import Outbox


class Numbers:
    """A feed whose snapshot is its latest message."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.latest = 0

    def next(self) -> str:
        self.latest += 1
        return f"{self.name}{self.latest}"

    def snapshot(self) -> Sequence[str]:
        return (f"{self.name}={self.latest}",)

    def resume(self) -> Sequence[str]:
        return self.snapshot()


class Silent:
    """A feed that has nothing to say yet."""

    def snapshot(self) -> Sequence[str]:
        return ()

    def resume(self) -> Sequence[str]:
        return ()


def everything(outbox: Outbox[str]) -> list[str]:
    taken: list[str] = []
    while texts := outbox.take(1000):
        taken += texts
    assert outbox.waiting == 0
    return taken


def test_messages_come_out_in_order() -> None:
    outbox, feed = Outbox(1000), Numbers("a")
    outbox.answer("subscribed")
    outbox.restart(feed)
    assert outbox.put(feed, feed.next()) == 0
    outbox.answer("pong")
    assert bool(outbox) is True
    assert everything(outbox) == ["subscribed", "a=0", "a1", "pong"]
    assert bool(outbox) is False


def test_a_take_is_bounded_but_never_empty() -> None:
    outbox = Outbox(1000)
    for text in ("x" * 50, "y" * 10, "z" * 10, "w" * 10):
        outbox.answer(text)
    assert outbox.take(30) == ("x" * 50,)
    assert outbox.take(25) == ("y" * 10, "z" * 10)
    assert outbox.take(25) == ("w" * 10,)
    assert outbox.take(25) == ()


def test_too_much_data_gives_way_to_a_snapshot_of_the_moment_of_reading() -> None:
    outbox, a, b = Outbox(20), Numbers("a"), Numbers("b")
    outbox.put(b, b.next())
    conflated = [outbox.put(a, a.next()) for _ in range(10)]
    assert conflated.count(2) == 1, "both feeds had messages waiting"
    assert sum(conflated) == 2
    assert outbox.conflated
    assert outbox.waiting == 0
    for _ in range(1000):
        outbox.put(a, a.next())
    assert outbox.waiting == 0, "nothing is queued for a feed that will be put in step anyway"
    assert everything(outbox) == ["b=1", "a=1010"]
    outbox.put(a, a.next())
    assert everything(outbox) == ["a1011"]


def test_a_feed_without_waiting_messages_is_not_conflated() -> None:
    outbox, a, b = Outbox(10), Numbers("a"), Numbers("b")
    outbox.put(a, "x" * 11)
    outbox.put(b, b.next())
    assert everything(outbox) == ["b1", "a=0"]


def test_answers_survive_conflation_and_can_overflow() -> None:
    outbox, feed = Outbox(10), Numbers("a")
    outbox.answer("pong")
    outbox.put(feed, "x" * 10)
    assert not outbox.overflowing
    assert everything(outbox) == ["pong", "a=0"]
    outbox.put(feed, "x" * 8)
    assert outbox.answer("pong") == 1, "data gives way to answers"
    assert not outbox.overflowing
    assert outbox.answer("x" * 10) == 0
    assert outbox.overflowing


def test_a_new_subscription_needs_no_second_snapshot() -> None:
    outbox, feed = Outbox(5), Numbers("a")
    outbox.put(feed, "x" * 6)
    assert outbox.waiting == 0
    outbox.restart(feed)
    assert not outbox.conflated
    assert everything(outbox) == ["a=0"]


def test_a_feed_that_was_left_is_owed_nothing() -> None:
    outbox, feed = Outbox(5), Numbers("a")
    outbox.put(feed, "x" * 6)
    outbox.forget(feed)
    assert not outbox
    assert everything(outbox) == []


def test_what_waits_of_a_feed_that_was_left_brings_no_snapshot_of_it() -> None:
    outbox, left, kept = Outbox(30), Numbers("a"), Numbers("b")
    outbox.put(left, left.next())
    outbox.forget(left)
    outbox.answer("unsubscribed")
    while not outbox.conflated:
        outbox.put(kept, kept.next())
    assert everything(outbox) == ["unsubscribed", f"b={kept.latest}"]


def test_what_waits_of_a_feed_that_was_left_still_comes_to_a_client_that_keeps_up() -> None:
    outbox, feed = Outbox(1000), Numbers("a")
    outbox.put(feed, feed.next())
    outbox.forget(feed)
    outbox.answer("unsubscribed")
    outbox.restart(feed)
    assert everything(outbox) == ["a1", "unsubscribed", "a=1"]


def test_a_conflated_feed_with_nothing_to_say_is_in_step() -> None:
    outbox, feed = Outbox(5), Silent()
    outbox.put(feed, "x" * 6)
    assert bool(outbox) is True
    assert outbox.take(100) == ()
    assert bool(outbox) is False


def test_deferred_answers_are_built_one_a_take_and_in_order() -> None:
    outbox, built = Outbox(10), list[str]()

    def part(*texts: str) -> Sequence[str]:
        built.append(texts[0] if texts else "nothing")
        return texts

    outbox.answer("pong")
    outbox.defer(lambda: part("a" * 50), part, lambda: part("b", "c"))
    assert (bool(outbox), outbox.deferred, outbox.conflated, outbox.waiting) == (True, 3, False, 4)
    assert outbox.take(1000) == ("pong",)
    assert built == []
    assert outbox.take(1000) == ("a" * 50,)
    assert len(built) == 1
    outbox.answer("pong")
    assert everything(outbox) == ["pong", "b", "c"]
    assert bool(outbox) is False


def test_a_feed_whose_snapshot_comes_later_is_stale_but_not_conflated() -> None:
    outbox, feed = Outbox(1000), Numbers("a")
    outbox.answer("subscribed")
    outbox.later(feed)
    outbox.put(feed, feed.next())
    outbox.put(feed, feed.next())
    assert outbox.conflated is False
    assert everything(outbox) == ["subscribed", "a=2"]
    outbox.put(feed, feed.next())
    assert everything(outbox) == ["a3"]
    outbox.later(feed)
    outbox.forget(feed)
    assert bool(outbox) is False
