"""``alphapulse topics create`` and a broker that is not there yet."""

from __future__ import annotations

import asyncio
import socket

import pytest

from alphapulse.cli import topics
from alphapulse.config import KafkaSettings, Settings
from alphapulse.errors import BrokerUnavailable
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

    async def create(_: KafkaSettings, replication: int) -> dict[str, bool]:
        made.append(replication)
        return {"md.l2": True, "dlq": False}

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
    settings = Settings(kafka=KafkaSettings(bootstrap=f"127.0.0.1:{port}"))
    work = asyncio.create_task(topics.create(settings, 3, wait_seconds=60))
    told = ""
    async with asyncio.timeout(20):
        while not told:
            await asyncio.sleep(0.01)
            told = capsys.readouterr().err
        async with scripted_broker(ScriptedBroker(port=port)):
            await work
    assert told == f"waiting: kafka.bootstrap: 127.0.0.1:{port} does not answer: connection refused\n"
    assert creation == [3]
    assert capsys.readouterr().out == "md.l2: created\ndlq: exists\n"
