"""Tests of the embedded broker: its life, its topics, what it keeps; and of the process that runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from alphapulse.brokers.memory.broker import RETENTION_BYTES, EmbeddedBroker, client_settings, default_topics, main
from alphapulse.config import KafkaSettings
from alphapulse.errors import BrokerError
from alphapulse.kafka import connection, consumer, producer, running
from alphapulse.kafka.client import MAX_BATCH_BYTES
from alphapulse.topics import STATE_TOPICS, TOPICS

BOUND_SECONDS = 30.0


async def partitions_of(settings: KafkaSettings) -> dict[str, int]:
    """Ask a broker for its topics; return name → partitions."""
    async with running(AIOKafkaAdminClient(**connection(settings)), settings) as admin:
        names = await admin.list_topics()
        return {found["topic"]: len(found["partitions"]) for found in await admin.describe_topics(names)}


async def test_has_all_our_topics_from_the_start(broker: EmbeddedBroker, kafka: KafkaSettings) -> None:
    assert await partitions_of(kafka) == {topic.name: 12 for topic in (*TOPICS, *STATE_TOPICS)} == broker.topics


async def test_has_the_topics_chosen_and_those_made_later() -> None:
    with EmbeddedBroker({"one": 1, "three": 3}) as broker:
        broker.create_topic("two", 2)
        assert await partitions_of(broker.settings()) == {"one": 1, "two": 2, "three": 3}


def test_lives_are_told_apart() -> None:
    broker = EmbeddedBroker({})
    lives = []
    for _ in range(2):
        with broker:
            lives.append(broker.incarnation)
            with pytest.raises(BrokerError, match=f"already running at {broker.bootstrap}"):
                broker.start()
    with EmbeddedBroker({}) as other:
        lives.append(other.incarnation)
    assert len(set(lives)) == 3


def test_a_stopped_broker_says_so() -> None:
    broker = EmbeddedBroker({"topic": 1})
    with pytest.raises(BrokerError, match="is not running"):
        broker.create_topic("other", 1)
    broker.start()
    broker.stop()
    broker.stop()
    with pytest.raises(BrokerError, match="is not running"):
        broker.delete_records("topic", 0, 0)


def test_topics_it_cannot_make_are_refused_and_nothing_is_left_running(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = EmbeddedBroker({"topic": 1})
    with broker:
        with pytest.raises(BrokerError, match="already exists"):
            broker.create_topic("topic", 2)
        assert broker.topics == {"topic": 1}

    class Twice(dict[str, int]):
        """A mapping that names its topic twice, as no real one can."""

        def items(self) -> Any:
            return [("topic", 1), ("topic", 1)]

    broker.topics = Twice()
    with pytest.raises(BrokerError, match="already exists"):
        broker.start()
    broker.topics = {}
    broker.start()
    broker.stop()


def test_settings_point_at_it_and_keep_what_was_chosen(broker: EmbeddedBroker) -> None:
    base = KafkaSettings(compression="none", security_protocol="SASL_SSL", session_timeout_ms=60_000)
    made = broker.settings(base)
    assert made == client_settings(base, bootstrap=broker.bootstrap, incarnation=broker.incarnation)
    assert (made.bootstrap, made.incarnation) == (broker.bootstrap, broker.incarnation)
    assert (made.compression, made.security_protocol) == ("none", "PLAINTEXT")
    # The timings must pass the checks that model_copy leaves out.
    assert KafkaSettings.model_validate(made.model_dump()) == made


async def test_keeps_so_much_of_a_partition_and_drops_the_oldest(broker: EmbeddedBroker, kafka: KafkaSettings) -> None:
    """That a reader too late for them is told is the business of ``tests/integration/kafka``."""
    partition = TopicPartition("md.l2", 3)
    kafka = kafka.model_copy(update={"compression": "none"})
    value, count = bytes(10_000), 1_000
    async with running(producer(kafka, client_id="test"), kafka) as writer:
        for _ in range(count):
            last = await writer.send(partition.topic, value, partition=partition.partition)
        assert (await last).offset == count - 1
    async with running(consumer(kafka, group_id=None, client_id="test"), kafka) as reader:
        first = (await reader.beginning_offsets([partition]))[partition]
        assert (await reader.end_offsets([partition]))[partition] == count
    # Whole batches go, an eighth of the log at once.
    assert RETENTION_BYTES * 7 // 8 - MAX_BATCH_BYTES <= (count - first) * len(value) <= RETENTION_BYTES


class BrokerProcess:
    """``python -m alphapulse.brokers.memory.broker`` as a user starts it."""

    def __init__(self, data_dir: Path, *arguments: str, **environment: str) -> None:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("ALPHAPULSE_")}
        self.announcement = data_dir / "run" / "broker.json"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "alphapulse.brokers.memory.broker", *arguments],
            env={**inherited, "ALPHAPULSE_DATA_DIR": str(data_dir), **environment},
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def told(self) -> dict[str, Any]:
        """Return what it announces, once it does."""
        deadline = time.monotonic() + BOUND_SECONDS
        while time.monotonic() < deadline:
            if self.announcement.is_file():
                told: dict[str, Any] = json.loads(self.announcement.read_text())
                if "bootstrap" in told:
                    return told
            assert self.process.poll() is None
            time.sleep(0.01)
        raise AssertionError(f"nothing announced within {BOUND_SECONDS:g} s")


@pytest.fixture
def started(tmp_path: Path) -> Iterator[BrokerProcess]:
    """A broker process with one topic more, told to die with its parent."""
    made = BrokerProcess(tmp_path, "--topic", "extra.topic:3", ALPHAPULSE_OPS__STOP_WITH_PARENT="true")
    with made.process:
        yield made
        made.process.kill()


async def test_process_announces_itself_and_stops_when_asked(started: BrokerProcess) -> None:
    told = started.told()
    assert told["pid"] == started.process.pid
    settings = client_settings(KafkaSettings(), bootstrap=told["bootstrap"], incarnation=told["incarnation"])
    assert await partitions_of(settings) == {**default_topics(), "extra.topic": 3}

    started.process.terminate()
    assert started.process.wait(BOUND_SECONDS) == 0
    assert not started.announcement.exists()
    assert started.process.stderr is not None
    lines = [json.loads(line) for line in started.process.stderr]
    assert told["bootstrap"] in [line.get("bootstrap") for line in lines]
    assert not [line for line in lines if line["level"] != "info"]


def test_process_dies_with_its_parent(started: BrokerProcess) -> None:
    started.told()
    assert started.process.stdin is not None
    started.process.stdin.close()
    assert started.process.wait(BOUND_SECONDS) == 0


@pytest.mark.parametrize("wrong", ["name", "name:", ":3", "name:0", "name:-1", "name:three", "name:²"])
def test_a_topic_that_is_none_is_refused(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--topic", wrong])
    assert ended.value.code == 2
    assert f"argument --topic: expected NAME:PARTITIONS, found {wrong!r}" in capsys.readouterr().err
