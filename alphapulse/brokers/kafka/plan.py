"""Configuration of a local Kafka cluster: its id, its ports, each node's ``server.properties``.

Id and ports are chosen once and kept in ``cluster.json``, so that clients find the same log at the same address after a
restart. Every node is both broker and controller; all voters are listed (a static quorum), so that formatting needs
only the id. Configuration keys: https://kafka.apache.org/documentation/#configuration
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
"""Supported numbers of nodes: one, or the fewest that survive the loss of any one."""

HOST: Final = "127.0.0.1"

PARTITION_BYTES: Final = 256 * 2**20
"""Maximum size of a partition, besides each topic's retention time: a day of a busy book on a workstation's disk."""

SEGMENT_BYTES: Final = 32 * 2**20
"""Retention and compaction skip the newest segment, so segments are small compared with the data kept."""

# Below Linux's range for outgoing connections (32768 and up), so that no other program gets a kept port.
_PORTS: Final = range(20_000, 32_000)
_TRIES: Final = 200


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports of a node on the loopback interface."""

    clients: int
    controller: int


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """Id of a cluster and its nodes' ports, node 1 first."""

    cluster_id: str
    ports: tuple[Ports, ...]

    @property
    def replication(self) -> int:
        """Replicas of each partition: one per node."""
        return len(self.ports)

    @property
    def min_insync(self) -> int:
        """Replicas required before a record is acknowledged: all but one, so that one node may be down."""
        return max(len(self.ports) - 1, 1)

    @property
    def bootstrap(self) -> str:
        """Addresses of all brokers, for clients."""
        return ",".join(f"{HOST}:{ports.clients}" for ports in self.ports)

    def properties(self, number: int, data: Path) -> dict[str, str]:
        """Return the configuration of node ``number`` (from 1) with its log in ``data``."""
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
            # A killed node may register again only after its last session has expired.
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
            # By default the first member of a group waits three seconds for others.
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            "num.network.threads": "2",
            "num.io.threads": "4",
            "background.threads": "2",
        }


def load(file: Path) -> ClusterPlan | None:
    """Read the plan in ``file``, None if there is none.

    Raises:
        BrokerError: the file cannot be read or is invalid.
    """
    try:
        told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return ClusterPlan(told["cluster_id"], tuple(Ports(*pair) for pair in told["ports"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BrokerError(f"kafka broker: {file} is not a valid cluster plan ({error}); delete its folder") from error


def save(plan: ClusterPlan, file: Path) -> None:
    """Write ``plan`` to ``file``.

    Raises:
        OSError: it cannot be written.
    """
    draft = file.with_suffix(".tmp")
    ports = [[pair.clients, pair.controller] for pair in plan.ports]
    draft.write_text(json.dumps({"cluster_id": plan.cluster_id, "ports": ports}), encoding="utf-8")
    draft.replace(file)


def new_plan(nodes: int, first_port: int = 0) -> ClusterPlan:
    """Create a plan for a new cluster.

    Args:
        nodes: one of :data:`SIZES`.
        first_port: client port of node 1, the other nodes use the following ports; 0: free ones.

    Raises:
        BrokerError: invalid size, or no port is free.
    """
    if nodes not in SIZES:
        raise BrokerError(f"kafka broker: --nodes: expected 1 or 3, found {nodes}")
    free = _free_ports()
    # Kafka's ids are 16 random bytes in URL-safe Base64; a leading '-' would look like an option.
    cluster_id = base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
    wanted = range(first_port, first_port + nodes) if first_port else [next(free) for _ in range(nodes)]
    return ClusterPlan(cluster_id, tuple(Ports(port, next(free)) for port in wanted))


def is_free(port: int) -> bool:
    """Return whether ``port`` is free to listen on."""
    with socket.socket() as probe:
        # As Java does: connections in TIME_WAIT do not matter.
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
