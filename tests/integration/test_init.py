"""``alphapulse init`` on real brokers, registries and ClickHouse servers: as typed, and twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import clickhouse_connect
import pytest

from alphapulse import topics
from alphapulse.config import KafkaSettings
from sinks.clickhouse.tables import migrations
from tests.fixtures.clickhouse_server import ClickHouseServer
from tests.fixtures.containers import IN_CONTAINERS, ClickHouseContainer, free_port
from tests.fixtures.kafka_cluster import ON_KAFKA
from tests.fixtures.schema_registry import registry_server

pytestmark = pytest.mark.slow


@dataclass
class Servers:
    """A broker with our topics, a registry, and a ClickHouse server that is not running."""

    kafka: KafkaSettings
    registry: str
    clickhouse: ClickHouseServer | ClickHouseContainer


@pytest.fixture
def processes(real_kafka: KafkaSettings, tmp_path: Path) -> Iterator[Servers]:
    server = ClickHouseServer(tmp_path / "clickhouse", free_port())
    with registry_server() as registry:
        yield Servers(real_kafka, registry.url, server)
    server.kill()


@pytest.fixture
def containers(
    container_kafka: KafkaSettings, container_registry: str, container_clickhouse: ClickHouseContainer
) -> Servers:
    container_clickhouse.kill()
    return Servers(container_kafka, container_registry, container_clickhouse)


@pytest.fixture(
    params=[pytest.param("processes", marks=ON_KAFKA), pytest.param("containers", marks=IN_CONTAINERS, id="container")]
)
def servers(request: pytest.FixtureRequest) -> Servers:
    found: Servers = request.getfixturevalue(request.param)
    return found


def init(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command with ``ALPHAPULSE_`` variables of these names."""
    own = {f"ALPHAPULSE_{name}": value for name, value in variables.items()}
    return subprocess.run(
        [sys.executable, "-m", "alphapulse.cli", "init", *arguments],
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_it_prepares_a_deployment_and_may_be_repeated(servers: Servers, tmp_path: Path) -> None:
    server = servers.clickhouse
    dsn = tmp_path / "dsn"
    dsn.write_text(server.dsn + "\n")
    variables = {
        "KAFKA__BOOTSTRAP": servers.kafka.bootstrap,
        "REGISTRY__URL": servers.registry,
        "CLICKHOUSE__DSN_FILE": str(dsn),
        "TOPICS__RETENTION_HOURS": json.dumps({"md.l2": 1.5}),
    }
    late = threading.Timer(1.0, server.start)  # it is waited for
    late.start()
    try:
        first = init("--wait", "30", **variables)
        second = init("--wait", "30", **variables)
    finally:
        late.join()
    server.kill()
    assert (first.returncode, first.stderr.count("Traceback")) == (0, 0), first.stderr
    assert f"{topics.L2}: exists; retention now 1.5 h" in first.stdout
    assert f"{len(migrations())} of {len(migrations())} migrations applied" in first.stdout
    assert second.returncode == 0, second.stderr
    assert f"{topics.L2}: exists\n" in second.stdout
    assert f": 0 of {len(migrations())} migrations applied" in second.stdout
    ids = [line for line in first.stdout.splitlines() if ": id " in line]
    assert ids == [line for line in second.stdout.splitlines() if ": id " in line]
    assert len(ids) == len(topics.TOPICS)
    server.start()
    client = clickhouse_connect.get_client(dsn=server.dsn, database="alphapulse")
    assert client.query("SELECT count() FROM l2").result_rows == [(0,)]


@ON_KAFKA
def test_who_does_not_answer_in_time_is_named(real_kafka: KafkaSettings) -> None:
    began = time.monotonic()
    port = free_port()
    dsn = f"clickhouse://u:s3cret@127.0.0.1:{port}"
    done = init("--wait", "1", KAFKA__BOOTSTRAP=real_kafka.bootstrap, CLICKHOUSE__DSN=dsn)
    assert done.returncode == 2
    assert f"clickhouse.dsn: clickhouse://127.0.0.1:{port} does not answer" in done.stderr
    assert "s3cret" not in done.stdout + done.stderr
    assert time.monotonic() - began < 60
