"""What a local Kafka cluster is told about itself: its id, its ports, each node's ``server.properties``.

Id and ports are chosen once and kept in ``cluster.json``, so that clients find the same log at the same address after
a restart. Every node is broker and controller at once; the voters are listed in full (a static quorum), so that
formatting needs nothing but the id. Meaning of the keys: https://kafka.apache.org/documentation/#configuration
"""

from __future__ import annotations

import base64
import json
import random
import socket
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from alphapulse.errors import BrokerError
from alphapulse.topics import MAX_RECORD_BYTES

SIZES: Final = (1, 3)
"""Nodes a cluster may have: one, or the fewest that go on without any one of them."""

HOST: Final = "127.0.0.1"

PARTITION_BYTES: Final = 256 * 2**20
"""What a partition keeps at most, besides each topic's own time limit: a day of a busy book on a workstation's disk."""

SEGMENT_BYTES: Final = 32 * 2**20
"""Retention and compaction leave the newest segment alone, so segments are small against what is kept."""

# Below the range that Linux takes for outgoing connections (32768 and up), so that nobody is given a kept port.
_PORTS: Final = range(20_000, 32_000)
_TRIES: Final = 200


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a node listens on the loopback interface."""

    clients: int
    controller: int


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """A cluster's id and its nodes' ports, node 1 first."""

    cluster_id: str
    ports: tuple[Ports, ...]

    @property
    def replication(self) -> int:
        """Replicas of each partition: one on every node."""
        return len(self.ports)

    @property
    def min_insync(self) -> int:
        """Replicas that must have a record before it is acknowledged: all but one, so that one node may be down."""
        return max(len(self.ports) - 1, 1)

    @property
    def bootstrap(self) -> str:
        """All brokers, as clients want them."""
        return ",".join(f"{HOST}:{ports.clients}" for ports in self.ports)

    def properties(self, number: int, data: Path) -> dict[str, str]:
        """Return the configuration of node ``number`` (from 1), which keeps its log in ``data``."""
        own, replicas = self.ports[number - 1], str(self.replication)
        return {
            "process.roles": "broker,controller",
            "node.id": str(number),
            "controller.quorum.voters": ",".join(f"{n}@{HOST}:{p.controller}" for n, p in enumerate(self.ports, 1)),
            "listeners": f"PLAINTEXT://{HOST}:{own.clients},CONTROLLER://{HOST}:{own.controller}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{own.clients},CONTROLLER://{HOST}:{own.controller}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(data),
            # A node that was killed may register again only when its last session is over.
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
            "default.replication.factor": replicas,
            "min.insync.replicas": str(self.min_insync),
            "offsets.topic.replication.factor": replicas,
            "offsets.topic.num.partitions": "6",
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": str(self.min_insync),
            "transaction.state.log.num.partitions": "3",
            "share.coordinator.state.topic.replication.factor": replicas,
            "share.coordinator.state.topic.min.isr": str(self.min_insync),
            "share.coordinator.state.topic.num.partitions": "3",
            "auto.create.topics.enable": "false",
            "message.max.bytes": str(MAX_RECORD_BYTES),
            "replica.fetch.max.bytes": str(MAX_RECORD_BYTES),
            "log.segment.bytes": str(SEGMENT_BYTES),
            "log.roll.ms": "3600000",
            "log.retention.bytes": str(PARTITION_BYTES),
            "log.retention.check.interval.ms": "60000",
            "log.cleaner.dedupe.buffer.size": str(16 * 2**20),
            # By default the first member of a group waits three seconds for others to come.
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            "num.network.threads": "2",
            "num.io.threads": "4",
            "background.threads": "2",
        }


def load(file: Path) -> ClusterPlan | None:
    """Return the plan kept in ``file``, None if there is none.

    Raises:
        BrokerError: the file cannot be read or holds no plan.
    """
    try:
        told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return ClusterPlan(told["cluster_id"], tuple(Ports(*pair) for pair in told["ports"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BrokerError(f"kafka broker: {file} holds no plan of a cluster ({error}); delete its folder") from error


def save(plan: ClusterPlan, file: Path) -> None:
    """Keep ``plan`` in ``file``.

    Raises:
        OSError: it cannot be written.
    """
    draft = file.with_suffix(".tmp")
    ports = [[pair.clients, pair.controller] for pair in plan.ports]
    draft.write_text(json.dumps({"cluster_id": plan.cluster_id, "ports": ports}), encoding="utf-8")
    draft.replace(file)


def new_plan(nodes: int, first_port: int = 0) -> ClusterPlan:
    """Return a plan for a new cluster.

    Args:
        nodes: one of :data:`SIZES`.
        first_port: of node 1's clients, the others' follow; 0: free ones.

    Raises:
        BrokerError: no such size, or no port is free.
    """
    if nodes not in SIZES:
        raise BrokerError(f"kafka broker: --nodes: expected 1 or 3, found {nodes}")
    free = _free_ports()
    # Kafka's ids are 16 random bytes in URL-safe Base64; one that begins with '-' would look like an option.
    cluster_id = base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
    wanted = range(first_port, first_port + nodes) if first_port else [next(free) for _ in range(nodes)]
    return ClusterPlan(cluster_id, tuple(Ports(port, next(free)) for port in wanted))


def is_free(port: int) -> bool:
    """Return whether nobody listens on ``port``."""
    with socket.socket() as probe:
        # As Java does: a connection that lingers from the last life is no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _free_ports() -> Iterator[int]:
    chance = random.SystemRandom()
    for port in chance.sample(_PORTS, _TRIES):
        if is_free(port):
            yield port
    raise BrokerError(f"kafka broker: no free port found between {_PORTS.start} and {_PORTS.stop}")
