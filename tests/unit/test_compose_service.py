from __future__ import annotations

import pytest

from tests.fixtures.compose_service import compose_service


@pytest.fixture(autouse=True)
def _no_images_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDPANDA_IMAGE", "CLICKHOUSE_IMAGE", "CLICKHOUSE_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


def test_the_broker_runs_as_it_does_in_the_stack() -> None:
    found = compose_service("redpanda", {"KAFKA_PORT": "1111", "REGISTRY_PORT": "2222"})
    assert found is not None
    assert found.image.startswith("redpandadata/redpanda:v")
    assert found.command is not None
    assert "--advertise-kafka-addr=internal://redpanda:9092,external://127.0.0.1:1111" in found.command
    assert "redpanda.auto_create_topics_enabled=false" in found.command
    assert found.ports == {19092: 1111, 8081: 2222}
    assert found.health == ["CMD", "rpk", "cluster", "health", "--exit-when-healthy"]
    assert found.open_files is None


def test_an_image_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLICKHOUSE_IMAGE", "clickhouse/clickhouse-server:1")
    found = compose_service("clickhouse", {"CLICKHOUSE_PASSWORD": "other", "CLICKHOUSE_PORT": "1111"})
    assert found is not None
    assert found.image == "clickhouse/clickhouse-server:1"
    assert found.environment["CLICKHOUSE_PASSWORD"] == "other"
    assert (found.command, found.ports, found.open_files) == (None, {8123: 1111}, 262144)


def test_stand_ins_replace_what_their_file_says() -> None:
    found = compose_service("redpanda", {"KAFKA_PORT": "1111"}, standins=True)
    assert found is not None
    assert (found.image, found.command) == ("alphapulse-standin:kafka", None)
    assert found.environment == {"KAFKA_HOST": "redpanda", "KAFKA_PORT": "1111"}
    assert found.ports == {19092: 1111}
    assert found.health[:2] == ["CMD", "python3"]

    server = compose_service("clickhouse", {}, standins=True)
    assert server is not None
    assert (server.image, server.open_files) == ("alphapulse-standin:clickhouse", None)
    assert server.environment["CLICKHOUSE_USER"] == "alphapulse"


def test_the_registry_is_a_service_among_the_stand_ins_only() -> None:
    assert compose_service("registry", {}) is None
    assert compose_service("registry", {}, standins=True) is not None
