"""Redpanda's and Console's settings in docker-compose.yml, against what their documentation and sources name.

The images cannot be pulled everywhere. rpk hands flags that it does not know on to the broker, which then does not
start, and Console refuses unknown keys, so a wrong name is worth a test.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).resolve().parents[3]
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
NODES: Final = ("redpanda", "redpanda-1", "redpanda-2")

# `rpk redpanda start` of v26.2 (docs.redpanda.com, reference/rpk/rpk-redpanda/rpk-redpanda-start) and, for those that
# its help hides, src/go/rpk/pkg/cli/redpanda/start.go.
FLAGS: Final = {
    "node-id", "seeds", "smp", "memory", "reserve-memory", "overprovisioned", "check", "kafka-addr",
    "advertise-kafka-addr", "schema-registry-addr", "pandaproxy-addr", "rpc-addr", "advertise-rpc-addr",
    "unsafe-bypass-fsync", "set",
}  # fmt: skip
# What --set may say: of broker properties and cluster properties (docs.redpanda.com, reference/properties).
PROPERTIES: Final[dict[str, set[str]]] = {
    "redpanda.developer_mode": {"true", "false"},
    "redpanda.write_caching_default": {"true", "false", "disabled"},
    "redpanda.auto_create_topics_enabled": {"true", "false"},
    "redpanda.enable_consumer_group_metrics": {'["group","partition","consumer_lag"]'},
}
# Console v3: backend/pkg/config, whose decoder is told ErrorUnused.
CONSOLE: Final[dict[str, Any]] = {
    "kafka": {"brokers": list},
    "schemaRegistry": {"enabled": bool, "urls": list},
    "redpanda": {"adminApi": {"enabled": bool, "urls": list}},
}


def flags(node: str) -> dict[str, list[str]]:
    """Return the values of each flag, and refuse what is none."""
    words = [str(word) for word in COMPOSE["services"][node]["command"]]
    assert words[:2] == ["redpanda", "start"]
    found: dict[str, list[str]] = {}
    rest = iter(words[2:])
    for word in rest:
        assert word.startswith("--"), word
        name, equals, value = word[2:].partition("=")
        # rpk parses --set by hand, and only with its value as an argument of its own.
        assert (name == "set") is not bool(equals) or name == "overprovisioned"
        found.setdefault(name, []).append(next(rest) if name == "set" else value)
    return found


def filled(text: str, **variables: str) -> str:
    """Return ``text`` as compose interpolates it."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: variables.get(found[1], found[2]), text)


@pytest.mark.parametrize("node", NODES)
def test_rpk_knows_each_flag_and_redpanda_each_property(node: str) -> None:
    given = flags(node)
    assert set(given) <= FLAGS
    for pair in given["set"]:
        name, _, value = pair.partition("=")
        assert value in PROPERTIES[name], pair
    # Acknowledged means on the disk, and the image's developer mode is off.
    assert given["unsafe-bypass-fsync"] == ["false"]
    assert "redpanda.developer_mode=false" in given["set"]


@pytest.mark.parametrize(("number", "node"), list(enumerate(NODES)))
def test_nodes_are_alike_but_for_their_names(number: int, node: str) -> None:
    first, given = flags(NODES[0]), flags(node)
    assert given.pop("node-id") == [str(number)]
    assert given.pop("seeds", []) == ([] if number == 0 else [f"{NODES[0]}:33145"])
    assert given["advertise-rpc-addr"] == [f"{node}:33145"]
    port = 19092 + number
    assert filled(given["advertise-kafka-addr"][0]) == f"internal://{node}:9092,external://127.0.0.1:{port}"
    assert given["kafka-addr"] == [f"internal://0.0.0.0:9092,external://0.0.0.0:{port}"]
    assert any(filled(published) == f"127.0.0.1:{port}:{port}" for published in COMPOSE["services"][node]["ports"])
    own = {"node-id", "seeds", "advertise-rpc-addr", "advertise-kafka-addr", "kafka-addr", "set"}
    assert {name: value for name, value in given.items() if name not in own} == {
        name: value for name, value in first.items() if name not in own
    }
    assert COMPOSE["services"][node]["networks"] == {"alphapulse": {"aliases": ["brokers"]}}


def test_everybody_finds_every_node() -> None:
    environment = COMPOSE["x-environment"]
    assert filled(environment["ALPHAPULSE_KAFKA__BOOTSTRAP"]) == "brokers:9092"
    assert filled(environment["ALPHAPULSE_REGISTRY__URL"]) == "http://brokers:8081"
    console = yaml.safe_load(filled(COMPOSE["configs"]["console"]["content"]))
    assert console["kafka"]["brokers"] == ["brokers:9092"]
    # Console asks the admin API of a certain node, and so has to know each by itself.
    told = re.search(r"^# ADMIN_URLS=(.+)$", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE)
    assert told is not None
    console = yaml.safe_load(filled(COMPOSE["configs"]["console"]["content"], ADMIN_URLS=told[1]))
    assert console["redpanda"]["adminApi"]["urls"] == [f"http://{node}:9644" for node in NODES]


def test_console_knows_each_key() -> None:
    def check(found: Any, known: Any, where: str) -> None:
        if not isinstance(known, dict):
            assert isinstance(found, known), where
            return
        assert found.keys() <= known.keys(), where
        for name, value in found.items():
            check(value, known[name], f"{where}.{name}")

    check(yaml.safe_load(filled(COMPOSE["configs"]["console"]["content"])), CONSOLE, "")
    (mounted,) = COMPOSE["services"]["console"]["configs"]
    assert COMPOSE["services"]["console"]["environment"]["CONFIG_FILEPATH"] == mounted["target"]
