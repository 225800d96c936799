"""Tests of the binding to librdkafka: mostly that what is missing is named."""

from __future__ import annotations

import ctypes.util
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from alphapulse.embedded import librdkafka
from alphapulse.errors import BrokerError


@pytest.fixture
def cluster() -> Iterator[librdkafka.Cluster]:
    """An empty running cluster."""
    opened = librdkafka.load().open_cluster()
    yield opened
    opened.close()


def test_loads_the_library_of_the_wheel() -> None:
    library = librdkafka.load()
    assert "confluent_kafka" in library.path
    assert tuple(int(part) for part in library.version.split(".")[:2]) >= (2, 16)
    assert librdkafka.load() is library


def test_a_library_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=r"cannot load librdkafka: .*librdkafka-none\.so"):
        librdkafka.Library(tmp_path / "librdkafka-none.so")


def test_a_library_without_the_cluster_is_named_with_the_missing_function() -> None:
    libc = ctypes.util.find_library("c")
    if libc is None:
        pytest.skip("no C library to be found by name on this system")
    with pytest.raises(BrokerError, match=r"has no rd_kafka_version_str; install confluent-kafka"):
        librdkafka.Library(libc)


def test_no_library_at_all_tells_where_it_was_sought(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes.util, "find_library", lambda _: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(BrokerError, match=r"no librdkafka found \(no confluent_kafka package, system libraries\)"):
        librdkafka._find()


def test_a_package_without_library_falls_back_to_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "confluent_kafka").mkdir()
    init = tmp_path / "confluent_kafka" / "__init__.py"
    init.touch()
    spec = importlib.util.spec_from_file_location("confluent_kafka", init)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: f"lib{name}.so.1")
    assert librdkafka._find() == "librdkafka.so.1"
    monkeypatch.setattr(ctypes.util, "find_library", lambda _: None)
    with pytest.raises(BrokerError, match=r"confluent_kafka\.libs"):
        librdkafka._find()


def test_listens_on_loopback(cluster: librdkafka.Cluster) -> None:
    host, port = cluster.bootstrap.split(":")
    assert host == "127.0.0.1"
    assert 0 < int(port) < 65536


def test_a_topic_is_made_once(cluster: librdkafka.Cluster) -> None:
    cluster.create_topic("md.l2", 12)
    with pytest.raises(BrokerError, match=r"topic 'md\.l2': .*already exists"):
        cluster.create_topic("md.l2", 12)


def test_records_of_nothing_cannot_be_deleted(cluster: librdkafka.Cluster) -> None:
    with pytest.raises(BrokerError, match=r"records of md\.l2\[0\] below 5: .*[Uu]nknown topic"):
        cluster.delete_records("md.l2", 0, 5)
    cluster.create_topic("md.l2", 1)
    with pytest.raises(BrokerError, match=r"records of md\.l2\[0\] below 5: .*out of range"):
        cluster.delete_records("md.l2", 0, 5)
