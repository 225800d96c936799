"""``alphapulse topics create`` and a broker that is not there yet."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable

import pytest

from alphapulse.cli import topics
from alphapulse.config import KafkaSettings, Settings, TopicsSettings
from alphapulse.errors import BrokerUnavailable
from alphapulse.topics import STATE_TOPICS, TOPICS, Topic
from tests.fixtures.scripted_broker import ScriptedBroker, scripted_broker


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        found: int = free.getsockname()[1]
        return found


@pytest.fixture(autouse=True)
def creation(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The replications that topics were made with."""
    made: list[int] = []

    async def create(_: KafkaSettings, replication: int, wanted: Iterable[Topic]) -> dict[str, bool]:
        made.append(replication)
        return {topic.name: topic.name != "dlq" for topic in wanted}

    async def apply(_: KafkaSettings, wanted: Iterable[Topic]) -> dict[str, int]:
        return {topic.name: topic.retention_ms for topic in wanted}

    monkeypatch.setattr(topics, "apply_retention", apply)
    monkeypatch.setattr(topics, "create_topics", create)
    monkeypatch.setattr(topics, "_PAUSE_SECONDS", 0.01)
    return made


async def test_nobody_there_is_told_at_once(port: int, creation: list[int]) -> None:
    settings = Settings(kafka=KafkaSettings(bootstrap=f"127.0.0.1:{port}"))
    with pytest.raises(BrokerUnavailable, match=f"127.0.0.1:{port} does not answer: connection refused"):
        await topics.create(settings, 1)
    with pytest.raises(BrokerUnavailable):
        await topics.create(settings, 1, wait_seconds=0.05)
    assert creation == []


async def test_it_waits_as_long_as_it_is_told_to(
    port: int, creation: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    kept = TopicsSettings(replication=2, retention_hours={"dlq": 0.5})
    settings = Settings(kafka=KafkaSettings(bootstrap=f"127.0.0.1:{port}"), topics=kept)
    work = asyncio.create_task(topics.create(settings, None, wait_seconds=60))
    told = ""
    async with asyncio.timeout(20):
        while not told:
            await asyncio.sleep(0.01)
            told = capsys.readouterr().err
        async with scripted_broker(ScriptedBroker(port=port)):
            await work
    assert told == f"waiting: kafka.bootstrap: 127.0.0.1:{port} does not answer: connection refused\n"
    assert creation == [2]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len((*TOPICS, *STATE_TOPICS))
    assert "md.l2: created" in lines
    assert "dlq: exists; retention now 0.5 h" in lines
