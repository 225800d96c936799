from __future__ import annotations

import asyncio

from gateway.health.answers import Health, Lag, ServiceHealth
from gateway.v2 import service_poll
from gateway.v2.service_poll import ServicePoll, conditions_of
from gateway.v2.status import ServiceCondition
from tests.fixtures.gateway_v2 import BenchV2

HEALTH = Health(
    status="ok",
    reasons=[],
    services={"gateway": ServiceHealth(status="ok"), "kafka": ServiceHealth(status="down", message="gone")},
    lag={
        "gateway": Lag(records=2, seconds=0.5, age_seconds=0),
        "alphapulse-processors": Lag(records=7, seconds=1.5, age_seconds=0),
    },
    uptime_seconds=1,
)


class Source:
    """Health that counts how often it was read."""

    def __init__(self) -> None:
        self.reads = 0

    async def read(self) -> Health:
        self.reads += 1
        return HEALTH


def test_services_and_groups_have_a_condition_each() -> None:
    assert conditions_of(HEALTH) == {
        "gateway": ServiceCondition("ok", 2, 0.5),
        "kafka": ServiceCondition("down", None, None),
        "alphapulse-processors": ServiceCondition("ok", 7, 1.5),
    }


async def test_it_polls_only_for_subscribers() -> None:
    bench, source = BenchV2(), Source()
    task = asyncio.create_task(ServicePoll(bench.streams, source).run())
    await asyncio.sleep(0)
    assert source.reads == 0
    client = bench.client()
    client.say(op="subscribe", channel="status")
    async with asyncio.timeout(30 * service_poll.IDLE_SECONDS):
        while not source.reads:
            await asyncio.sleep(0.05)
    bench.hub.check()
    assert {each["service"] for each in client.read() if "service" in each} == set(conditions_of(HEALTH))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
