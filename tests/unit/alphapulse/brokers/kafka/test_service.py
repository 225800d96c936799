"""Tests of what a service does about nodes that die again and again."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from alphapulse.brokers.kafka.cluster import KafkaCluster
from alphapulse.brokers.kafka.install import Installation
from alphapulse.brokers.kafka.node import KafkaNode
from alphapulse.brokers.kafka.plan import new_plan
from alphapulse.brokers.kafka.service import RESTART_LIMIT, KafkaService
from alphapulse.config import Settings
from alphapulse.errors import BrokerError
from alphapulse.service import Service


def test_nodes_that_die_too_often_are_given_up_with_their_last_words(tmp_path: Path) -> None:
    installation = Installation("4", "/bin/false", tmp_path, tmp_path / "logging", tmp_path / "classes")
    node = KafkaNode(1, tmp_path / "node-1", new_plan(1), installation)
    life = KafkaService(Service("broker", Settings(data_dir=tmp_path)), KafkaCluster(tmp_path, installation))
    with capture_logs() as logged:
        for _ in range(RESTART_LIMIT):
            life._count_death(node)
        node.folder.mkdir()
        node.log.write_text("2026-01-01 INFO a: fine\n2026-01-01 ERROR b: no space\njava.io.IOException: disk full\n")
        with pytest.raises(BrokerError, match=rf"died {RESTART_LIMIT + 1} times in 60 s(.|\n)*no space\n.*disk full$"):
            life._count_death(node)
    assert [line["event"] for line in logged] == ["node died; restarting it"] * (RESTART_LIMIT + 1)


def test_a_node_without_last_words_names_its_log(tmp_path: Path) -> None:
    installation = Installation("4", "/bin/false", tmp_path, tmp_path / "logging", tmp_path / "classes")
    node = KafkaNode(2, tmp_path, new_plan(3), installation)
    assert node.reason() == f"no reason in {tmp_path / 'node.log'}"
    node.send(signal.SIGTERM)  # nobody there
    node.kill()
    assert (node.pid, node.exit_code) == (None, None)
