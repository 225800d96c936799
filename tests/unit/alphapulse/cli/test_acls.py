"""`alphapulse acls`: what it prints, and for what."""

from __future__ import annotations

import json
from pathlib import Path

import clickhouse_connect
import pytest

from alphapulse.cli.acls import acls, clickhouse_users, shown
from alphapulse.config import ClickHouseSettings, ProcessorSettings, Settings
from alphapulse.errors import ArgumentsRefused
from alphapulse.kafka.rights import Access
from alphapulse.kafka.services import SERVICES
from alphapulse.topics import LOADS_STATE, STATE_TOPICS, TOPICS
from tests.unit.alphapulse.cli.test_commands import command  # noqa: F401 a fixture


def test_groups_and_topics_are_those_of_the_configuration() -> None:
    settings = Settings(
        processors=ProcessorSettings(group="mine"), clickhouse=ClickHouseSettings(topics=("md.trades",))
    )
    found = {(one.resource, one.name): one.operations for one in acls(settings, ["processors", "sink-clickhouse"])}
    assert found["group", "mine"] == ("Read",)
    assert found["topic", "dlq"] == ("Write",)
    assert ("topic", "md.quotes") not in found


def test_every_topic_has_a_writer_and_a_maker() -> None:
    every = [access(Settings()) for access in SERVICES.values()]
    names = {topic.name for topic in (*TOPICS, *STATE_TOPICS)}
    made = {LOADS_STATE.name}
    assert set().union(*(one.writes for one in every)) == names | made
    assert set().union(*(one.creates for one in every)) == names
    assert set().union(*(one.makes for one in every)) == made


def test_a_load_may_make_its_own_topic_and_nothing_else() -> None:
    found = {(one.resource, one.name): one.operations for one in acls(Settings(), ["load"])}
    assert found["topic", "state.loads"] == ("Read", "Write", "Create")
    assert found["topic", "md.l2"] == ("Read", "Write")
    assert found["group", "alphapulse-load"] == ("Read",)
    assert found["group", Settings().clickhouse.group] == ("Describe",)
    assert len(found) == 7


def test_a_right_is_asked_for_once() -> None:
    access = Access(
        reads=frozenset({"a"}), writes=frozenset({"a", "b"}), groups=frozenset({"g"}), watches=frozenset("g")
    )
    assert access.on_topics() == {"a": ("Read", "Write"), "b": ("Write",)}
    assert access.on_groups() == {"g": ("Read",)}


def test_formats() -> None:
    found = acls(Settings(), ["sink-parquet"], "User:CN={service},O=desk")
    told = json.loads(shown(found, "json"))
    assert [entry["service"] for entry in told] == ["sink-parquet"]
    assert told[0]["principal"] == "User:CN=sink-parquet,O=desk"
    assert {"resource": "topic", "name": "dlq", "pattern": "literal", "operations": ["Write"]} in told[0]["acls"]
    assert told[0]["transactional_ids"] == []
    table = shown(found, "table").splitlines()
    assert table[0].split() == ["SERVICE", "PRINCIPAL", "RESOURCE", "OPERATIONS"]
    assert len(table) == len(found) + 1
    assert shown(found, "kafka-acls").splitlines()[:2] == [
        "# sink-parquet",
        (
            "kafka-acls.sh --bootstrap-server $BROKER --command-config $ADMIN --add --allow-principal "
            "'User:CN=sink-parquet,O=desk' --operation Write --topic dlq --topic ops.events"
        ),
    ]
    assert shown(found, "rpk").splitlines()[1] == (
        "rpk security acl create --allow-principal 'User:CN=sink-parquet,O=desk' --operation write "
        "--topic dlq,ops.events"
    )
    assert "describe_configs,alter_configs" in shown(acls(Settings(), ["init"]), "rpk")


@pytest.mark.parametrize("columns", [80, 60])
def test_a_narrow_terminal_gets_a_list_with_the_same_rights(columns: int) -> None:
    found = acls(Settings())
    assert max(map(len, shown(found, "table").splitlines())) > columns
    text = shown(found, "table", columns)
    assert max(map(len, text.splitlines())) <= columns
    for access in text.split("\n\n"):
        head, *rights = access.splitlines()
        service, principal = head.split()
        of = [acl for acl in found if acl.service == service]
        assert {principal} == {acl.principal for acl in of}
        told = " ".join(line.strip() for line in rights)
        assert " ".join(told.split()) == " ".join(
            f"{acl.resource} {acl.name} {', '.join(acl.operations)}" for acl in of
        )


def test_a_wide_terminal_gets_the_table() -> None:
    found = acls(Settings())
    assert shown(found, "table", 200) == shown(found, "table")
    assert shown(found, "json", 10) == shown(found, "json")


@pytest.mark.parametrize(
    ("services", "principal", "told"),
    [
        (["sink"], "User:{service}", "'sink' is not a service; known: collector, "),
        ([], "User:all", "--principal: 'User:all' must have {service} in it"),
        (["init"], "init", "--principal: 'init' has no type; expected User:NAME"),
    ],
)
def test_wrong_arguments(services: list[str], principal: str, told: str) -> None:
    with pytest.raises(ArgumentsRefused) as refused:
        acls(Settings(), services, principal)
    assert told in str(refused.value)


def test_the_command(command, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    assert command("acls", "gateway", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["service"] == "gateway"
    assert command("acls", "nobody") == 2
    assert "'nobody' is not a service" in capsys.readouterr().err
    assert command("acls", "--clickhouse") == 0
    assert "CREATE USER IF NOT EXISTS alphapulse_writer" in capsys.readouterr().out


def test_clickhouse_understands_the_users(tmp_path: Path) -> None:
    """chDB lets nobody create users, so the statements are parsed by it, not run."""
    text = "\n".join(line for line in clickhouse_users(Settings()).splitlines() if not line.startswith("--"))
    statements = [part.strip() for part in text.split(";") if part.strip()]
    client = clickhouse_connect.get_client(dsn=f"chdb://{tmp_path}")
    try:
        for statement in statements:
            assert client.query(f"EXPLAIN AST {statement}").result_rows
    finally:
        client.close()
