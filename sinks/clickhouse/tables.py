"""Tables by topic, and the migrations that create them.

The migrations are package data (``sinks/clickhouse/migrations``), so that an installed wheel finds them like the source
tree does; they are applied in the order of their numbers and recorded in the table ``migrations``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final

from alphapulse import topics
from alphapulse.errors import ServiceError
from schemas.definitions import definitions
from schemas.records import Record
from sinks.clickhouse.engine import Engine, RowSource
from sinks.clickhouse.evolution import evolve


@dataclass(frozen=True, slots=True)
class Table:
    """A table: ``time`` is the column that its rows are partitioned and sorted by."""

    name: str
    time: str


TABLE_OF: Final[dict[str, Table]] = {
    topics.TRADES: Table("trades", "received_time"),
    topics.L2: Table("l2", "received_time"),
    topics.QUOTES: Table("quotes", "received_time"),
    topics.DEPTH: Table("depth", "received_time"),
    topics.CANDLES: Table("candles", "open_time"),
    topics.STATS: Table("stats", "window_start"),
    topics.ARBITRAGE: Table("arbitrage", "updated_time"),
    topics.EVENTS: Table("events", "time"),
    topics.DEAD_LETTERS: Table("dead_letters", "time"),
}

BOOKS: Final = Table("books", "received_time")
"""Whole books, derived from ``l2`` (:mod:`sinks.clickhouse.books`): no topic's, kept as long as those of ``md.l2``."""

INCARNATION: Final = "_incarnation"

EMBEDDED: Final[Mapping[str, str]] = {
    # chDB deletes the parts replaced by a merge at once (its old_parts_lifetime is 0, a server's 480 seconds): the
    # merged part must be on disk by then, or a power cut would lose committed rows.
    "min_rows_to_fsync_after_merge": "1",
    # A write makes one small part per table, once a second. By default the engine soon merges every five of them with
    # everything in the table, which costs more than inserting and grows with the table (20 rows rewritten per row
    # inserted after four minutes). This setting merges ten parts of a level into one of the next (1.5 rows).
    "merge_selector_algorithm": "'Trivial'",
}
"""Settings of the tables in the embedded engine. Not a migration: a server's tables belong to its administrator."""

_RECORD: Final = """
CREATE TABLE IF NOT EXISTS migrations
(
    number UInt32,
    name String,
    sha256 String,
    applied_time DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree
ORDER BY number
"""


class NewerSchema(ServiceError):
    """The database has migrations of a later release than this program; nothing was changed."""


_RECORDED: Final = "SELECT name FROM system.tables WHERE database = currentDatabase() AND name = 'migrations'"


@dataclass(frozen=True, slots=True)
class Migration:
    """A numbered file; each of its ``statements`` is idempotent."""

    number: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def statements(self) -> list[str]:
        return [statement for part in self.text.split(";\n") if (statement := part.strip())]


def migrations() -> list[Migration]:
    """Return all migrations in order.

    Raises:
        ServiceError: a file's name has no number, or a number occurs twice.
    """
    found: dict[int, Migration] = {}
    for file in resources.files("sinks.clickhouse").joinpath("migrations").iterdir():
        if not file.name.endswith(".sql"):
            continue
        number, _, _ = file.name.partition("_")
        if not number.isdecimal() or int(number) in found:
            raise ServiceError(f"migration {file.name}: its name must begin with a unique number")
        found[int(number)] = Migration(int(number), file.name, file.read_text(encoding="utf-8"))
    return [found[number] for number in sorted(found)]


@dataclass(frozen=True, slots=True)
class Applied:
    """Migrations of a database, compared with those of this program.

    Attributes:
        pending: not applied yet.
        changed: names of files that differ from what was applied.
        newer: names of those that this program does not have.
    """

    pending: list[Migration]
    changed: list[str]
    newer: list[str]


async def applied(engine: RowSource, wanted: list[Migration] | None = None) -> Applied:
    """Compare the migrations of the database with ``wanted`` (default: all of this program); change nothing.

    Raises:
        Unreachable: ClickHouse does not answer now.
        ServiceError: ClickHouse refuses; also where nothing was ever applied.
    """
    wanted = migrations() if wanted is None else wanted
    found = {
        int(number): (str(name), str(digest))
        for number, name, digest in await engine.rows("SELECT number, name, sha256 FROM migrations ORDER BY number")
    }
    last = max((migration.number for migration in wanted), default=0)
    return Applied(
        pending=[migration for migration in wanted if migration.number not in found],
        changed=[
            migration.name
            for migration in wanted
            if migration.number in found and found[migration.number][1] != migration.sha256
        ],
        newer=[name for number, (name, _) in found.items() if number > last],
    )


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What :func:`upgrade` did: names of the migrations applied, and of the columns added (``table.column``)."""

    migrations: list[str]
    columns: list[str]


def records_of_tables() -> dict[str, type[Record]]:
    """Return the class of records of each table."""
    return {TABLE_OF[found.topic].name: found.record for found in definitions()}


async def migrate(engine: Engine, wanted: list[Migration] | None = None) -> int:
    """Apply pending migrations, then add columns for new fields; return the number of migrations.

    Raises:
        Unreachable: as :func:`upgrade`, like the others.
        NewerSchema: see there.
        ServiceError: see there.
    """
    return len((await upgrade(engine, wanted)).migrations)


async def upgrade(engine: Engine, wanted: list[Migration] | None = None, *, again: bool = False) -> Upgrade:
    """Apply pending migrations, then add columns for new fields.

    Several sinks may do this concurrently: every statement is idempotent.

    Args:
        engine: open.
        wanted: default: all of this program, and the columns.
        again: run the statements of those that were applied, too: a table that was dropped is created anew.

    Raises:
        Unreachable: ClickHouse does not answer now.
        NewerSchema: the database has migrations of a later release.
        ServiceError: an applied migration differs from its file, or ClickHouse refuses a statement.
    """
    chosen = migrations() if wanted is None else wanted
    where = f"{engine.place}, database {engine.database}"
    # A user who may only write has no right to create tables, not even if they exist.
    if not await engine.rows(_RECORDED):
        await engine.command(_RECORD)
    state = await applied(engine, chosen)
    if state.newer:
        raise NewerSchema(
            f"{where}: the tables are of a later release than this program: it does not know {', '.join(state.newer)} "
            f"(its last migration is {chosen[-1].name if chosen else 'none'}); use the later release"
        )
    if state.changed:
        raise ServiceError(
            f"migration {state.changed[0]} was changed after it had been applied to {where}: put changes into a new "
            "migration"
        )
    for migration in chosen if again else state.pending:
        for statement in migration.statements:
            await engine.command(statement)
        if migration in state.pending:
            await engine.command(
                "INSERT INTO migrations (number, name, sha256) VALUES "  # noqa: S608 our own files' names
                f"({migration.number}, '{migration.name}', '{migration.sha256}')"
            )
    added = await evolve(engine, records_of_tables()) if wanted is None else []
    return Upgrade([migration.name for migration in state.pending], added)


async def missing_tables(engine: RowSource, of: Collection[str] = TABLE_OF.keys()) -> list[str]:
    """Return the names of the tables of topics that do not exist, in the order of :data:`TABLE_OF`.

    Raises:
        Unreachable: ClickHouse does not answer now.
        ServiceError: ClickHouse refuses.
    """
    found = await engine.rows("SELECT name FROM system.tables WHERE database = currentDatabase()")
    there = {str(row[0]) for row in found}
    return [table.name for topic, table in TABLE_OF.items() if topic in of and table.name not in there]


def missing_text(engine: Engine, names: Sequence[str]) -> str:
    """Return a message on tables that do not exist although their migrations were applied."""
    tables = f"table {names[0]} is" if len(names) == 1 else f"tables {', '.join(names)} are"
    return (
        f"{tables} missing in {engine.place}, database {engine.database} (dropped?); records not yet stored are still "
        "on the broker: create what is missing with `alphapulse clickhouse migrate`, then start the sink again"
    )


async def tune(engine: Engine) -> None:
    """Set the settings that the tables of the embedded engine need.

    Raises:
        ServiceError: ClickHouse refuses.
    """
    names = {table.name for table in (*TABLE_OF.values(), BOOKS)}
    for name, statement in await engine.rows(
        "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase()"
    ):
        wanted = [text for key, value in EMBEDDED.items() if (text := f"{key} = {value}") not in statement]
        if name in names and wanted:
            await engine.command(f"ALTER TABLE {name} MODIFY SETTING {', '.join(wanted)}")
