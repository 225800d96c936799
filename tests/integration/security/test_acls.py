"""`alphapulse acls` on a real Kafka with its authorizer: services work with exactly these rights, and not without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from alphapulse.cli.acls import Acl, acls
from alphapulse.config import Settings
from alphapulse.errors import BrokerError, BrokerRefused
from alphapulse.kafka.admin import apply_retention, create_topics
from alphapulse.kafka.services import SERVICES
from alphapulse.kafka.waiting import check
from alphapulse.topics import LOADS_STATE, STATE_TOPICS, TOPICS
from sinks.load.progress import Shown
from sinks.load.recording import Choice
from sinks.load.running import load, recordings
from sinks.load.topics import TopicTarget
from tests.fixtures.live import market
from tests.fixtures.secure_kafka import ON_SECURE_KAFKA, SecureKafka
from tests.fixtures.service_process import SERVICES as PROCESSES
from tests.fixtures.service_process import ServiceProcess
from tests.recordings import ours

pytestmark = [ON_SECURE_KAFKA, pytest.mark.slow]

ALL = (*TOPICS, *STATE_TOPICS)
PRINCIPAL = "User:acl-{service}"
PASSWORD = "acl-secret"


def as_user(broker: SecureKafka, settings: Settings, service: str) -> Settings:
    """Return ``settings`` of a service of its own user, without any rights so far."""
    broker.user(f"acl-{service}", PASSWORD)
    return settings.model_copy(update={"kafka": broker.scram(f"acl-{service}", PASSWORD)})


async def delete_topics(broker: SecureKafka) -> None:
    names = [topic.name for topic in (*ALL, LOADS_STATE)]

    def there() -> list[str]:
        return [name for name in names if name in broker.admin.list_topics(timeout=30).topics]

    if old := there():
        for future in broker.admin.delete_topics(old).values():
            future.result(30)
    async with asyncio.timeout(60):
        while there():
            await asyncio.sleep(0.02)


@pytest.fixture
async def topics(secure_kafka: SecureKafka) -> SecureKafka:
    """All topics, empty, made by a user with the rights of ``init``."""
    await delete_topics(secure_kafka)
    settings = as_user(secure_kafka, Settings(), "init")
    secure_kafka.allow(acls(settings, ["init"], PRINCIPAL))
    made = await create_topics(settings.kafka, 1, ALL)
    assert all(made.values())
    assert await apply_retention(settings.kafka, [replace(TOPICS[0], retention_ms=3_600_000)]) == {
        TOPICS[0].name: 3_600_000
    }
    return secure_kafka


async def test_topics_are_not_created_without_the_rights(secure_kafka: SecureKafka) -> None:
    settings = as_user(secure_kafka, Settings(), "init")
    with pytest.raises(BrokerError, match="AuthorizationFailed"):
        await create_topics(settings.kafka, 1, [replace(TOPICS[0], name="another")])


@pytest.mark.parametrize("service", [name for name in SERVICES if name != "init"])
async def test_every_right_is_needed(topics: SecureKafka, service: str) -> None:
    settings = as_user(topics, Settings(), service)
    rights = acls(settings, [service], PRINCIPAL)
    access = SERVICES[service](settings)
    topics.allow(rights)
    if access.makes:
        await create_topics(settings.kafka, 1, [LOADS_STATE])
    await check(settings.kafka, access)
    for right in rights:
        for operation in right.operations:
            one = replace(right, operations=(operation,))
            topics.forbid(one)
            with pytest.raises(BrokerRefused) as refused:
                await check(settings.kafka, access)
            assert f" {operation} on {right.resource} {right.name}; " in str(refused.value)
            topics.allow([one])
    await check(settings.kafka, access)


async def test_a_load_works_with_exactly_its_rights(topics: SecureKafka, tmp_path: Path) -> None:
    settings = as_user(topics, Settings(data_dir=tmp_path), "load")
    topics.allow(acls(settings, ["load"], PRINCIPAL))
    shown = Shown(quiet=True)
    for present in (0, 1):
        files = await asyncio.to_thread(recordings, [ours("kraken").path], Choice(), shown)
        await load(files, TopicTarget(settings, shown.tell), shown, None)
        assert [(one.written.stored, one.written.present) for one in files] == [
            (one.records * (1 - present), one.records * present) for one in files
        ]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        yield session


def rights_of(settings: Settings, process: str) -> list[Acl]:
    return acls(settings, [service_of(process)], PRINCIPAL)


def service_of(process: str) -> str:
    return process.partition("-kraken")[0]


@pytest.mark.unmeasured
async def test_services_work_with_exactly_their_rights(
    topics: SecureKafka, tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    async with market("kraken", "BTC-USD") as venue:
        base = Settings(data_dir=tmp_path, venues={"kraken": venue.settings("BTC-USD")})
        base = base.model_copy(
            update={
                "gateway": base.gateway.model_copy(update={"port": 0}),
                "parquet": base.parquet.model_copy(update={"batch_seconds": 0.5}),
            }
        )
        made = {name: ServiceProcess(name, as_user(topics, base, service_of(name)), http) for name in PROCESSES}
        try:
            await asyncio.gather(*(process.start() for process in made.values()))
            told = await asyncio.gather(*(one.until_waiting_for("alphapulse acls") for one in made.values()))
            assert all(message.startswith("kafka.sasl_username: ") for message in told)
            for name, process in made.items():
                topics.allow(rights_of(process.settings, name))
            await asyncio.gather(*(process.until_ready() for process in made.values()))
            await stored(made)
            assert await asyncio.gather(*(process.stop() for process in made.values())) == [0] * len(made)
            for process in made.values():
                assert "AUTHORIZATION" not in process.said().upper(), process.said()[-3000:]
        finally:
            await asyncio.gather(*(process.kill() for process in made.values()))


async def stored(made: dict[str, ServiceProcess]) -> None:
    """Return when books went through processors and gateway, and rows into both sinks."""
    folder = made["sink-parquet"].settings.data_dir
    async with asyncio.timeout(60):
        while not list(folder.glob("parquet/md.l2/**/*.parquet")):
            await asyncio.sleep(0.05)
        while '"l2"' not in await made["sink-clickhouse"].ask("/status"):
            await asyncio.sleep(0.05)
        while "BTC-USD" not in await made["processors"].ask("/books"):
            await asyncio.sleep(0.05)
