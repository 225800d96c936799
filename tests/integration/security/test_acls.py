"""`alphapulse acls` on a real Kafka with its authorizer: services work with exactly these rights, and not without."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from alphapulse.cli.acls import Acl, acls
from alphapulse.config import Settings, environment
from alphapulse.errors import BrokerError, BrokerRefused
from alphapulse.kafka import producer, running
from alphapulse.kafka.admin import apply_retention, create_topics
from alphapulse.kafka.services import SERVICES
from alphapulse.kafka.waiting import check
from alphapulse.topics import LOADS_STATE, STATE_TOPICS, TOPICS
from schemas.codec import Codec
from schemas.records import key_of
from sinks.load.progress import Shown
from sinks.load.recording import Choice
from sinks.load.running import load, recordings
from sinks.load.topics import TopicTarget
from tests.documents import ROOT
from tests.documents.blocks import blocks
from tests.fixtures.live import market
from tests.fixtures.market import trade
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
    names = [*(topic.name for topic in (*ALL, LOADS_STATE)), "strategy.vwap"]

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


def rights_of_the_strategy(principal: str) -> list[Acl]:
    """Return the rights that docs/strategy.md gives its strategy, for ``principal``."""
    found = re.findall(
        r"rpk security acl create --allow-principal \S+ --operation (\S+) --(topic|group) (\S+)$",
        (ROOT / "docs" / "strategy.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    return [
        Acl("strategy", principal, resource, name, tuple(one.capitalize() for one in operations.split(",")))
        for operations, resource, name in found
    ]


@pytest.mark.unmeasured
async def test_the_strategy_of_the_documents_works_with_exactly_its_rights(topics: SecureKafka, tmp_path: Path) -> None:
    settings = as_user(topics, Settings(data_dir=tmp_path), "strategy")
    rights = rights_of_the_strategy("User:acl-strategy")
    assert {(right.resource, right.name) for right in rights} == {
        ("topic", "md.trades"),
        ("topic", "strategy.vwap"),
        ("group", "strategy-vwap"),
    }
    topics.allow(rights)
    trades = [trade(str(second), price=10_000, received_time=second * 10**9) for second in range(30)]
    trades.append(trade("30", price=10_200, received_time=30 * 10**9))
    topics.allow([Acl("collector", "User:acl-strategy", "topic", "md.trades", ("Write",))])
    async with running(producer(settings.kafka, client_id="test"), settings.kafka) as writer:
        for record in trades:
            await writer.send_and_wait("md.trades", Codec().encode(record), key=key_of(record))
    topics.forbid(Acl("collector", "User:acl-strategy", "topic", "md.trades", ("Write",)))
    (program,) = (block.text for block in blocks(ROOT / "docs" / "strategy.md") if "class Windows" in block.text)
    strategy = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        cwd=tmp_path,
        env={**os.environ, **environment(settings), "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert strategy.stdout is not None
        async with asyncio.timeout(60):
            assert await strategy.stdout.readline() == b"kraken BTC-USD 102.00 100.00000000\n"
    finally:
        strategy.kill()
        await strategy.wait()


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
