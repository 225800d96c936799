"""Addresses as people write them."""

from __future__ import annotations

import pytest

from alphapulse.addresses import addresses, is_loopback
from alphapulse.config import KafkaSettings
from alphapulse.errors import ValueRefused


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:9092", [("127.0.0.1", 9092)]),
        ("redpanda-0.redpanda:9092, redpanda_1:19092", [("redpanda-0.redpanda", 9092), ("redpanda_1", 19092)]),
        ("[::1]:1", [("::1", 1)]),
    ],
)
def test_host_and_port(text: str, found: list[tuple[str, int]]) -> None:
    assert addresses(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "redpanda",
        "redpanda:",
        ":9092",
        "a:1,",
        "a:1 b:2",
        "a:0",
        "a:65536",
        "a:x",
        "::1:9092",
        "kafka://a:1",
        "a:1/x",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueRefused, match="expected host:port"):
        addresses(text)


def test_the_configuration_is_checked_and_tidied() -> None:
    assert KafkaSettings(bootstrap=" a:1 , b:2 ").bootstrap == "a:1,b:2"
    with pytest.raises(ValueError, match="expected host:port, several separated by commas"):
        KafkaSettings(bootstrap="kafka://redpanda:9092")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "::ffff:127.0.0.1", "localhost", "LOCALHOST"]
)
def test_only_this_machine_reaches_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "::ffff:10.0.0.1", "desk", "localhost.example", ""])
def test_other_hosts_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)
