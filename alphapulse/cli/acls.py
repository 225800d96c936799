"""``alphapulse acls``: the least rights of each service on the broker and on ClickHouse.

Kafka's are made of :mod:`alphapulse.kafka.services`, which the services themselves check at their start: a right that
is missing here would be missed there. No service has a transactional id, and none needs the right
IdempotentWrite: since Kafka 2.8 Write on a topic includes it (KIP-679).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from alphapulse.config import Settings
from alphapulse.errors import ArgumentsRefused
from alphapulse.kafka.services import SERVICES
from alphapulse.output import wrapped

PRINCIPAL: Final = "User:alphapulse-{service}"
"""Default principal; with mutual TLS a certificate's subject, such as ``User:CN={service},O=desk``."""


@dataclass(frozen=True, slots=True)
class Acl:
    """Operations that a principal may carry out on one topic or group, from any host."""

    service: str
    principal: str
    resource: str
    name: str
    operations: tuple[str, ...]


def acls(settings: Settings, services: Iterable[str] = (), principal: str = PRINCIPAL) -> list[Acl]:
    """Return the rights of ``services`` (default: all).

    Args:
        settings: name groups and topics.
        services: names in :data:`alphapulse.kafka.services.SERVICES`.
        principal: with ``{service}`` in it.

    Raises:
        ArgumentsRefused: an unknown service, or a principal that is the same for all.
    """
    wanted = tuple(services) or tuple(SERVICES)
    faults = [f"{name!r} is not a service; known: {', '.join(SERVICES)}" for name in wanted if name not in SERVICES]
    if "{service}" not in principal and len(wanted) > 1:
        faults.append(f"--principal: {principal!r} must have {{service}} in it, or name one service as well")
    if ":" not in principal:
        faults.append(f"--principal: {principal!r} has no type; expected User:NAME")
    if faults:
        raise ArgumentsRefused(faults)
    found: list[Acl] = []
    for service in wanted:
        access, who = SERVICES[service](settings), principal.replace("{service}", service)
        for resource, rights in (("topic", access.on_topics()), ("group", access.on_groups())):
            found += [Acl(service, who, resource, name, operations) for name, operations in rights.items()]
    return found


def shown(wanted: list[Acl], form: str, columns: int | None = None) -> str:
    """Return ``wanted`` as ``table``, ``json``, ``kafka-acls`` or ``rpk``, ended by a line break.

    Args:
        wanted: rights.
        form: name of the format.
        columns: width that a table should not exceed; None: any.
    """
    if form == "json":
        return json.dumps(_as_json(wanted), indent=2) + "\n"
    if form == "table":
        table = _table(wanted)
        fits = columns is None or max(map(len, table.splitlines())) <= columns
        return table if fits else _lists(wanted, columns)
    line = _kafka_acls if form == "kafka-acls" else _rpk
    lines: list[str] = []
    told = ""
    for (service, who, resource, operations), names in _grouped(wanted).items():
        if service != told:
            lines.append(f"# {service}")
            told = service
        lines.append(line(who, resource, operations, names))
    return "\n".join(lines) + "\n"


def _as_json(wanted: list[Acl]) -> list[dict[str, Any]]:
    services: dict[str, dict[str, Any]] = {}
    for acl in wanted:
        entry = services.setdefault(
            acl.service, {"service": acl.service, "principal": acl.principal, "acls": [], "transactional_ids": []}
        )
        entry["acls"].append(
            {"resource": acl.resource, "name": acl.name, "pattern": "literal", "operations": list(acl.operations)}
        )
    return list(services.values())


def _table(wanted: list[Acl]) -> str:
    rows = [("SERVICE", "PRINCIPAL", "RESOURCE", "OPERATIONS")]
    rows += [(acl.service, acl.principal, f"{acl.resource} {acl.name}", ", ".join(acl.operations)) for acl in wanted]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join([*(f"{row[n]:<{widths[n]}}" for n in range(3)), row[3]]).rstrip() for row in rows]
    return "\n".join(lines) + "\n"


def _lists(wanted: list[Acl], columns: int | None) -> str:
    """Return the table as a list for each service, which is narrower."""
    width = max(len(f"{acl.resource} {acl.name}") for acl in wanted)
    lines: list[str] = []
    told = ""
    for acl in wanted:
        if acl.service != told:
            lines += [*([""] if told else []), f"{acl.service}  {acl.principal}"]
            told = acl.service
        # Operations that do not fit continue under the first one, not under the resource.
        resource, rights = f"  {acl.resource} {acl.name}".ljust(width + 4), ", ".join(acl.operations)
        room = None if columns is None else max(columns - len(resource), 1)
        first, *rest = wrapped(rights, room, indent=0).split("\n")
        lines += [resource + first, *(" " * len(resource) + line for line in rest)]
    return "\n".join(lines) + "\n"


def _grouped(wanted: list[Acl]) -> Mapping[tuple[str, str, str, tuple[str, ...]], list[str]]:
    found: dict[tuple[str, str, str, tuple[str, ...]], list[str]] = {}
    for acl in wanted:
        found.setdefault((acl.service, acl.principal, acl.resource, acl.operations), []).append(acl.name)
    return found


def _kafka_acls(who: str, resource: str, operations: tuple[str, ...], names: list[str]) -> str:
    allowed = " ".join(f"--operation {one}" for one in operations)
    on = " ".join(f"--{resource} {name}" for name in names)
    command = "kafka-acls.sh --bootstrap-server $BROKER --command-config $ADMIN --add"
    return f"{command} --allow-principal '{who}' {allowed} {on}"


_RPK_NAMES: Final = {"DescribeConfigs": "describe_configs", "AlterConfigs": "alter_configs"}


def _rpk(who: str, resource: str, operations: tuple[str, ...], names: list[str]) -> str:
    allowed = ",".join(_RPK_NAMES.get(one, one.lower()) for one in operations)
    return f"rpk security acl create --allow-principal '{who}' --operation {allowed} --{resource} {','.join(names)}"


_CLICKHOUSE: Final = """\
-- Users of ClickHouse with the least rights; choose the passwords. With client certificates instead of passwords:
-- IDENTIFIED WITH ssl_certificate CN '<common name>'
-- It may be run again, and should be after an upgrade: a later release may need further rights.
CREATE DATABASE IF NOT EXISTS {database};

-- alphapulse init: creates tables and views, adds to them, sets how long rows are kept. It cannot drop a table or a
-- column, nor delete rows. CREATE TABLE includes views; the engines matter to servers with table_engines_require_grant.
CREATE USER IF NOT EXISTS alphapulse_migrator IDENTIFIED WITH sha256_password BY '<migrator password>';
GRANT CREATE TABLE, DROP VIEW, SELECT, INSERT, ALTER ADD COLUMN, ALTER MODIFY COLUMN, ALTER ADD INDEX,
    ALTER MATERIALIZE INDEX, ALTER ADD PROJECTION, ALTER MATERIALIZE PROJECTION, ALTER SETTINGS, ALTER TTL
    ON {database}.* TO alphapulse_migrator;
GRANT TABLE ENGINE ON MergeTree, TABLE ENGINE ON ReplacingMergeTree TO alphapulse_migrator;
-- alphapulse clickhouse status: sizes of the tables, and what ClickHouse is still changing.
GRANT SELECT ON system.mutations, SELECT ON system.parts TO alphapulse_migrator;

-- The ClickHouse sink: inserts, and reads back what a crash may have left. It cannot change or remove what is stored.
CREATE USER IF NOT EXISTS alphapulse_writer IDENTIFIED WITH sha256_password BY '<writer password>';
GRANT SELECT, INSERT ON {database}.* TO alphapulse_writer;

-- The gateway, and people: read.
CREATE USER IF NOT EXISTS alphapulse_reader IDENTIFIED WITH sha256_password BY '<reader password>';
GRANT SELECT ON {database}.* TO alphapulse_reader;
"""


def clickhouse_users(settings: Settings) -> str:
    """Return SQL that creates migrator, writer and reader on the configured database."""
    return _CLICKHOUSE.format(database=settings.clickhouse.database)
