from __future__ import annotations

import asyncio

import pytest
import structlog

from alphapulse import metrics
from alphapulse.errors import BrokerError
from gateway.access.events import EVENTS_BURST, EventPublisher, publishing
from gateway.event_sender import EventSender
from schemas.records import Event


class Recorder(EventSender):
    """Keeps events instead of sending them; refuses them while ``away``."""

    def __init__(self) -> None:
        self.sent: list[Event] = []
        self.away = False

    async def publish(self, event: Event) -> None:
        if self.away:
            raise BrokerError("the broker is away")
        self.sent.append(event)


def event(number: int = 0) -> Event:
    return Event(time=number, service="gateway", kind="access_refused", severity="INFO", message="")


def dropped() -> float:
    return float(metrics.GATEWAY_AUDIT_DROPPED._value.get())


async def test_events_are_sent_in_order_and_the_last_ones_at_the_end() -> None:
    sender = Recorder()
    async with publishing(sender) as publisher:
        publisher.publish(event(1))
        async with asyncio.timeout(30):
            while not sender.sent:
                await asyncio.sleep(0)
        publisher.publish(event(2))
        publisher.publish(event(3))
    assert [each.time for each in sender.sent] == [1, 2, 3]


async def test_there_are_never_too_many() -> None:
    sender, before = Recorder(), dropped()
    publisher = EventPublisher(sender, now=lambda: 0.0)
    for number in range(EVENTS_BURST + 7):
        publisher.publish(event(number))
    await publisher.drain()
    assert len(sender.sent) == EVENTS_BURST
    assert dropped() - before == 7


async def test_a_broker_that_is_away_costs_events_only(caplog: pytest.LogCaptureFixture) -> None:
    sender, before = Recorder(), dropped()
    async with publishing(sender) as publisher:
        sender.away = True
        publisher.publish(event(1))
        await publisher.drain()
        sender.away = False
        publisher.publish(event(2))
    assert [each.time for each in sender.sent] == [2]
    assert dropped() - before == 1


class Odd(Recorder):
    """Cannot send the event of time 1."""

    async def publish(self, event: Event) -> None:
        if event.time == 1:
            raise ValueError("cannot be encoded")
        await super().publish(event)


async def test_an_error_costs_the_one_event_and_is_logged() -> None:
    sender, before = Odd(), dropped()
    with structlog.testing.capture_logs() as logged:
        async with publishing(sender) as publisher:
            publisher.publish(event(1))
            publisher.publish(event(2))
            async with asyncio.timeout(30):
                while not sender.sent:
                    await asyncio.sleep(0)
    assert [each.time for each in sender.sent] == [2]
    assert dropped() - before == 1
    assert [each["reason"] for each in logged] == ["ValueError: cannot be encoded"]
