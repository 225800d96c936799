from __future__ import annotations

from collections.abc import Sequence

from gateway.outbox import Source
from gateway.v2.encoding import JSON, MSGPACK, Form, Outgoing
from gateway.v2.feed import Feed
from gateway.v2.messages import Heartbeat
from gateway.v2.pace import Pacer
from tests.fixtures.stream import ManualScheduler

TEXT, PACKED = Form(JSON, checksum=False), Form(MSGPACK, checksum=False)


class Counter(Feed):
    """A feed of a number; its messages are heartbeats of that time.

    Attributes:
        made: messages made, whatever the number of forms.
    """

    def __init__(self, tick: ManualScheduler, interval_ms: int = 0) -> None:
        super().__init__(Pacer(tick, tick.clock), interval_ms)
        self.number = 0
        self.told = 0
        self.made = 0

    def set(self, number: int) -> None:
        self.number = number
        self.changed()

    def _begin(self) -> None:
        self.told = self.number

    def _snapshot(self) -> Sequence[Outgoing]:
        self.made += 1
        return (Heartbeat(self.told),)

    def _news(self) -> Sequence[Outgoing]:
        if self.told == self.number:
            return ()
        self.told = self.number
        self.made += 1
        return (Heartbeat(self.told),)


class Listener:
    """A subscriber that keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[bytes] = []

    def deliver(self, source: Source[bytes], data: bytes) -> None:
        self.got.append(data)


def text(number: int) -> bytes:
    return b'{"type":"heartbeat","time":%d}' % number


def test_a_message_is_made_once_for_all_and_encoded_once_for_each_form() -> None:
    feed = Counter(ManualScheduler())
    listeners = [Listener() for _ in range(4)]
    for listener, form in zip(listeners, (TEXT, TEXT, PACKED, PACKED), strict=True):
        feed.variant(form).join(listener)
    feed.set(7)
    assert feed.made == 1
    assert listeners[0].got == [text(7)]
    assert listeners[0].got[0] is listeners[1].got[0]
    assert listeners[2].got[0] is listeners[3].got[0]
    assert feed.variant(TEXT) is feed.variant(TEXT)


def test_without_subscribers_nothing_is_made() -> None:
    feed = Counter(ManualScheduler(), 100)
    feed.set(1)
    feed.set(2)
    assert feed.made == 0
    assert feed.variant(TEXT).snapshot() == [text(2)], "the newest, whatever the interval"
    feed.set(3)
    assert feed.variant(TEXT).snapshot() == [text(3)]


def test_a_snapshot_is_of_what_the_subscribers_know_and_made_once() -> None:
    tick = ManualScheduler()
    feed = Counter(tick, 100)
    variant, one = feed.variant(TEXT), Listener()
    assert variant.snapshot() == [text(0)]
    variant.join(one)
    feed.set(1)
    made = feed.made
    assert variant.snapshot() == variant.resume() == [text(0)]
    assert feed.made - made <= 2
    tick.advance(0.1)
    assert (one.got, variant.snapshot()) == ([text(1)], [text(1)])


def test_joining_and_leaving_are_counted_once() -> None:
    feed = Counter(ManualScheduler())
    one = Listener()
    for _ in range(2):
        feed.variant(TEXT).join(one)
    assert feed.audience == 1
    feed.variant(PACKED).join(one)
    assert feed.audience == 2
    for _ in range(2):
        feed.variant(TEXT).leave(one)
    assert feed.audience == 1


def test_catching_up_does_not_wait_for_the_tick() -> None:
    tick = ManualScheduler()
    feed = Counter(tick, 1000)
    one = Listener()
    feed.set(4)
    feed.catch_up()
    assert feed.told == 4
    feed.variant(TEXT).join(one)
    feed.set(5)
    feed.catch_up()
    tick.advance(1)
    assert one.got == [text(5)]
