"""Local Apache Kafka clusters: what they hold outlives stops, kills and, with three nodes, the loss of any one."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import UnknownTopicOrPartitionError

from alphapulse.brokers.kafka import cluster as kafka_cluster
from alphapulse.brokers.kafka.cluster import KafkaCluster, clean
from alphapulse.brokers.kafka.install import Installation
from alphapulse.config import KafkaSettings
from alphapulse.errors import BrokerError, ServiceError
from alphapulse.kafka import connection, consumer, incarnation, producer, running
from alphapulse.kafka.admin import apply_retention, create_topics, retained
from alphapulse.topics import STATE_TOPICS, TOPICS, Topic
from tests.fixtures.kafka_cluster import ON_KAFKA
from tests.integration.kafka.reading import read, write

pytestmark = ON_KAFKA

TOPIC = Topic("test.kept", 3_600_000, 3)


async def fill(settings: KafkaSettings, first: int, last: int) -> None:
    """Produce records ``first`` to ``last`` - 1."""
    async with running(producer(settings, client_id="test"), settings) as writer:
        await write(writer, TOPIC.name, [b"%d" % number for number in range(first, last)])


async def numbers(settings: KafkaSettings, count: int) -> list[int]:
    """Return what the topic holds, ``count`` records or a few more."""
    async with running(consumer(settings, TOPIC.name, group_id=None, client_id="test"), settings) as reader:
        return sorted(int(record.value) for record in await read(reader, count))


async def topic_settings(settings: KafkaSettings, topic: str) -> dict[str, str]:
    """Return a topic's settings as the broker has them, once the node asked has heard of the topic."""
    async with running(AIOKafkaAdminClient(**connection(settings)), settings) as admin, asyncio.timeout(30):
        while True:
            answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
            (code,) = {resource[0] for answer in answers for resource in answer.resources}
            if code != UnknownTopicOrPartitionError.errno:
                assert code == 0
                break
            await asyncio.sleep(0.1)
    return {entry[0]: entry[1] for answer in answers for resource in answer.resources for entry in resource[4]}


def command_of(pid: int) -> list[str]:
    """Return a process's command line."""
    return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0")


async def test_keeps_log_id_and_ports(
    tmp_path: Path, kafka_installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kafka"
    # As on a machine where Kafka has never run: the first stop leaves the archive of classes that later starts use.
    monkeypatch.setattr(kafka_cluster, "STOP_SECONDS", 60.0)  # a busy machine takes long to write it
    kafka_installation = replace(kafka_installation, classes=tmp_path / "classes.jsa")
    async with KafkaCluster(folder, kafka_installation) as cluster:
        settings = cluster.settings()
        assert await create_topics(settings, 1, [TOPIC]) == {TOPIC.name: True}
        await fill(settings, 0, 100)
        with pytest.raises(ServiceError, match=f"{folder} is in use by process"):
            await KafkaCluster(folder, kafka_installation).start()
        with pytest.raises(BrokerError, match="node 1 is already running as process"):
            await cluster.start_node(cluster.nodes[0])

    assert set(os.listdir(tmp_path)) == {"kafka", "classes.jsa"}  # noqa: PTH208
    again = KafkaCluster(folder, kafka_installation)
    with pytest.raises(BrokerError, match="was not started"):
        _ = again.bootstrap
    async with again:
        assert again.nodes[0].pid is not None
        assert f"-XX:SharedArchiveFile={tmp_path / 'classes.jsa'}" in command_of(again.nodes[0].pid)
        assert again.settings() == settings
        assert await incarnation(settings.model_copy(update={"incarnation": ""})) == settings.incarnation
        assert await create_topics(settings, 1, [TOPIC]) == {TOPIC.name: False}
        assert await numbers(settings, 100) == list(range(100))
        (longer,) = retained([TOPIC], {TOPIC.name: 2.5, "md.l2": 1.0})
        assert await apply_retention(settings, [TOPIC]) == {}
        assert await apply_retention(settings, [longer]) == {TOPIC.name: 9_000_000}
        found = await topic_settings(settings, TOPIC.name)
        assert {key: found[key] for key in longer.broker_config()} == longer.broker_config()
        with pytest.raises(BrokerError, match=r"topic test\.none: UnknownTopicOrPartitionError"):
            await apply_retention(settings, [replace(TOPIC, name="test.none")])

    with pytest.raises(BrokerError, match=r"holds a cluster of 1, found 3"):
        await KafkaCluster(folder, kafka_installation, nodes=3).start()
    clean(folder)
    clean(folder)
    assert not folder.exists()


@pytest.mark.unmeasured
async def test_three_nodes_lose_nothing_when_one_is_killed(tmp_path: Path, kafka_installation: Installation) -> None:
    """The one killed is in turn the leader of some partition, and of the controllers perhaps."""
    began = time.monotonic()
    async with KafkaCluster(tmp_path, kafka_installation, nodes=3) as cluster:
        print(f"three nodes ready in {time.monotonic() - began:.1f} s")  # noqa: T201
        settings = cluster.settings()
        await create_topics(settings, cluster.plan.replication, [TOPIC])
        found = await topic_settings(settings, TOPIC.name)
        assert found["min.insync.replicas"] == "2"
        await fill(settings, 0, 1_000)
        cluster.nodes[0].kill()
        assert cluster.nodes[0].exit_code == -signal.SIGKILL
        began = time.monotonic()
        await fill(settings, 1_000, 2_000)  # the other two go on
        print(f"acknowledged again {time.monotonic() - began:.1f} s after the kill")  # noqa: T201
        assert await numbers(settings, 2_000) == list(range(2_000))
        await cluster.start_node(cluster.nodes[0])
        await cluster.wait_ready()
        assert await numbers(settings, 2_000) == list(range(2_000))


async def test_our_topics_are_made_as_they_should_be(real_kafka: KafkaSettings) -> None:
    for topic in (*TOPICS, *STATE_TOPICS):
        found = await topic_settings(real_kafka, topic.name)
        assert {key: found[key] for key in topic.broker_config()} == topic.broker_config()
    assert found["cleanup.policy"] == "compact"
    with pytest.raises(BrokerError, match=r"topic bad/name: InvalidTopicError"):
        await create_topics(real_kafka, 1, [Topic("bad/name", 1)])
    with pytest.raises(BrokerError, match=r"topic test\.three: fewer brokers than replicas"):
        await create_topics(real_kafka, 3, [Topic("test.three", 1)])


async def test_a_port_in_use_is_named(
    tmp_path: Path, kafka_installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_cluster, "_RELEASE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cluster = KafkaCluster(tmp_path, kafka_installation, first_port=port)
        with pytest.raises(BrokerError, match=f"port {port} of node 1 is in use by another process"):
            async with cluster:
                pass


async def test_a_node_that_cannot_start_says_why(tmp_path: Path, kafka_installation: Installation) -> None:
    cluster = KafkaCluster(tmp_path, kafka_installation)
    try:
        await cluster.start()
        cluster.nodes[0].kill()
        meta = tmp_path / "node-1" / "data" / "meta.properties"
        meta.write_text(meta.read_text().replace("node.id=1", "node.id=77"))
        await cluster.start_node(cluster.nodes[0])
        with pytest.raises(BrokerError, match=r"node 1 ended \(exit code 1\):\n(.|\n)*node id 77"):
            await cluster.wait_ready()
    finally:
        await cluster.stop()


async def test_a_node_that_takes_too_long_is_named(
    tmp_path: Path, kafka_installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_cluster, "READY_SECONDS", 0.0)
    with pytest.raises(BrokerError, match=rf"node 1 was not ready in 0 s; see {tmp_path}/node-1/node\.log"):
        async with KafkaCluster(tmp_path, kafka_installation):
            pass


async def test_a_folder_that_cannot_be_formatted_says_why(tmp_path: Path, kafka_installation: Installation) -> None:
    (tmp_path / "node-1").mkdir()
    (tmp_path / "node-1" / "data").write_text("in the way")
    cluster = KafkaCluster(tmp_path, kafka_installation)
    with pytest.raises(BrokerError, match=r"node 1: cannot format .*data:\n"):
        async with cluster:
            pass
