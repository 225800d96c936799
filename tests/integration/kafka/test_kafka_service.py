"""``python -m alphapulse.brokers.kafka.service``: announced like the embedded one, restarted, never left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from alphapulse.brokers.kafka import cluster as kafka_cluster
from alphapulse.brokers.kafka import service as kafka_broker
from alphapulse.brokers.kafka.cluster import client_settings
from alphapulse.brokers.kafka.install import Installation
from alphapulse.config import KafkaSettings
from alphapulse.kafka import connection, consumer, producer, running
from alphapulse.topics import STATE_TOPICS, TOPICS
from tests.fixtures.kafka_cluster import ON_KAFKA
from tests.integration.kafka.reading import BOUND_SECONDS, read, write
from tests.unit.alphapulse.brokers.test_tied import alive

pytestmark = ON_KAFKA


class BrokerProcess:
    """The service as a supervisor starts it."""

    def __init__(self, data_dir: Path, *arguments: str) -> None:
        self.data_dir = data_dir
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("ALPHAPULSE_")}
        self.log = data_dir.with_suffix(".log")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "alphapulse.brokers.kafka.service", *arguments],
                env={**inherited, "ALPHAPULSE_DATA_DIR": str(data_dir), "ALPHAPULSE_OPS__STOP_WITH_PARENT": "true"},
                stdin=subprocess.PIPE,
                stderr=log,
            )

    def told(self) -> dict[str, Any]:
        """Return what it announces now."""
        with contextlib.suppress(FileNotFoundError):
            found: dict[str, Any] = json.loads((self.data_dir / "run" / "broker.json").read_text())
            return found if found["pid"] == self.process.pid else {}
        return {}

    def until(self, condition: Callable[[], Any], what: str) -> None:
        """Wait."""
        deadline = time.monotonic() + BOUND_SECONDS
        while not condition():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, what
            time.sleep(0.02)

    def serving(self) -> dict[str, Any]:
        """Return what it announces once it serves."""
        self.until(lambda: "bootstrap" in self.told(), "an address announced")
        return self.told()

    def kill(self) -> None:
        """Kill the service, not its nodes."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def started(tmp_path: Path, kafka_installation: Installation) -> Iterator[Callable[..., BrokerProcess]]:
    """Start the service on one folder."""
    made: list[BrokerProcess] = []

    def start(*arguments: str) -> BrokerProcess:
        made.append(BrokerProcess(tmp_path / "data", *arguments))
        return made[-1]

    yield start
    for one in made:
        if one.process.poll() is None:
            one.kill()


async def test_it_and_its_node_are_killed_and_come_back(started: Callable[..., BrokerProcess]) -> None:
    broker = started()
    told = broker.serving()
    (node,) = told["nodes"]
    settings = client_settings(KafkaSettings(), bootstrap=told["bootstrap"], incarnation=told["incarnation"])
    async with running(AIOKafkaAdminClient(**connection(settings)), settings) as admin:
        internal = {"__consumer_offsets", "__transaction_state"}  # there as soon as somebody needs them
        assert set(await admin.list_topics()) - internal == {topic.name for topic in (*TOPICS, *STATE_TOPICS)}

    # A client that lives through it all.
    async with running(producer(settings, client_id="test"), settings) as writer:
        await write(writer, "md.l2", [b"first"])
        pids = {node["pid"]}
        os.kill(node["pid"], signal.SIGKILL)
        sent = await writer.send("md.l2", b"second", key=b"key")
        broker.until(lambda: broker.told()["nodes"][0]["pid"] not in {None, *pids}, "the node started again")
        pids.add(broker.told()["nodes"][0]["pid"])
        os.kill(max(pids - {node["pid"]}), signal.SIGKILL)  # while it starts
        broker.until(lambda: broker.told()["nodes"][0]["pid"] not in {None, *pids}, "the node started once more")
        await sent

        second = broker.told()["nodes"][0]
        broker.kill()
        again = started()
        assert (again.serving()["bootstrap"], again.told()["incarnation"]) == (told["bootstrap"], told["incarnation"])
        assert not alive(second["pid"]), "the node outlived the service"
        await write(writer, "md.l2", [b"third"])
    async with running(consumer(settings, "md.l2", group_id=None, client_id="test"), settings) as reader:
        assert [record.value for record in await read(reader, 3)] == [b"first", b"second", b"third"]

    pid = again.told()["nodes"][0]["pid"]
    again.process.communicate()  # closes its standard input: the parent is gone
    assert again.process.returncode == 0
    assert not alive(pid)


def test_asked_to_stop_while_it_starts_it_leaves_nothing(started: Callable[..., BrokerProcess]) -> None:
    broker = started("--clean")
    log = broker.data_dir / "kafka" / "node-1" / "node.log"
    broker.until(log.exists, "the node started")
    broker.process.terminate()
    assert broker.process.wait(BOUND_SECONDS) == 0
    broker.process.communicate()
    assert '"listening"' not in broker.log.read_text()
    assert broker.told() == {}
    kafka_cluster.clean(broker.data_dir / "kafka")  # nobody holds it


def test_a_folder_of_another_size_is_refused_in_one_line(
    tmp_path: Path, kafka_installation: Installation, started: Callable[..., BrokerProcess]
) -> None:
    folder = tmp_path / "data" / "kafka"
    folder.mkdir(parents=True)
    (folder / "cluster.json").write_text('{"cluster_id": "AAAAAAAAAAAAAAAAAAAAAA", "ports": [[1, 2]]}')
    broker = started("--nodes", "3")
    broker.process.communicate()
    assert broker.process.returncode == 2
    last = broker.log.read_text().splitlines()[-1]
    assert last.startswith(f"broker: kafka broker: --nodes: {folder} holds a cluster of 1, found 3")


def test_without_java_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert kafka_broker.main([]) == 2
    assert "has no bin/java; install Java 17" in capsys.readouterr().err
