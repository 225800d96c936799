"""Tests of a local cluster's id, ports and configuration."""

from __future__ import annotations

import base64
import socket
from pathlib import Path

import pytest

from alphapulse.brokers.kafka.plan import ClusterPlan, Ports, is_free, load, new_plan, save
from alphapulse.errors import BrokerError

THREE = ClusterPlan("AAAAAAAAAAAAAAAAAAAAAA", (Ports(1, 11), Ports(2, 12), Ports(3, 13)))


def test_ids_are_new_and_ports_free_and_apart() -> None:
    plans = [new_plan(3) for _ in range(2)]
    assert len({plan.cluster_id for plan in plans}) == 2
    for plan in plans:
        assert len(base64.urlsafe_b64decode(plan.cluster_id + "==")) == 16
        assert not plan.cluster_id.startswith("-")
        ports = [port for pair in plan.ports for port in (pair.clients, pair.controller)]
        assert len(set(ports)) == 6
        assert all(is_free(port) for port in ports)


def test_ports_can_be_chosen() -> None:
    assert [pair.clients for pair in new_plan(3, 9092).ports] == [9092, 9093, 9094]


@pytest.mark.parametrize("nodes", [0, 2, 4, -1])
def test_other_sizes_are_refused(nodes: int) -> None:
    with pytest.raises(BrokerError, match=f"--nodes: expected 1 or 3, found {nodes}"):
        new_plan(nodes)


def test_three_nodes_do_with_two_and_one_with_itself() -> None:
    properties = THREE.properties(2, Path("/data"))
    assert properties["controller.quorum.voters"] == "1@127.0.0.1:11,2@127.0.0.1:12,3@127.0.0.1:13"
    assert properties["listeners"] == "PLAINTEXT://127.0.0.1:2,CONTROLLER://127.0.0.1:12"
    assert (properties["node.id"], properties["log.dirs"]) == ("2", "/data")
    for key in ("default.replication.factor", "offsets.topic.replication.factor"):
        assert properties[key] == "3"
    assert properties["min.insync.replicas"] == properties["transaction.state.log.min.isr"] == "2"
    assert THREE.bootstrap == "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3"

    alone = ClusterPlan(THREE.cluster_id, THREE.ports[:1]).properties(1, Path("/data"))
    assert alone["default.replication.factor"] == alone["min.insync.replicas"] == "1"


def test_is_kept_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "cluster.json"
    assert load(file) is None
    save(THREE, file)
    assert load(file) == THREE
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"cluster_id": "x", "ports": [[1]]}'])
def test_a_file_that_holds_something_else_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "cluster.json"
    file.write_text(text)
    with pytest.raises(BrokerError, match=r"cluster\.json is not a valid cluster plan"):
        load(file)


def test_a_port_in_use_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)
