"""Tables by topic, and the migrations that create them.

The migrations are package data (``sinks/clickhouse/migrations``), so that an installed wheel finds them like the source
tree does; they are applied in the order of their numbers and recorded in the table ``migrations``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final

from alphapulse import topics
from alphapulse.errors import ServiceError
from sinks.clickhouse.engine import Engine


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


async def migrate(engine: Engine, wanted: list[Migration] | None = None) -> int:
    """Apply pending migrations; return their number.

    Several sinks may do this concurrently: every statement is idempotent.

    Raises:
        Unreachable: ClickHouse does not answer now.
        ServiceError: an applied migration differs from its file, or ClickHouse refuses a statement.
    """
    wanted = migrations() if wanted is None else wanted
    await engine.command(_RECORD)
    applied = {
        int(number): str(digest) for number, digest in await engine.rows("SELECT number, sha256 FROM migrations")
    }
    new = 0
    for migration in wanted:
        digest = applied.get(migration.number)
        if digest is None:
            for statement in migration.statements:
                await engine.command(statement)
            await engine.command(
                "INSERT INTO migrations (number, name, sha256) VALUES "  # noqa: S608 our own files' names
                f"({migration.number}, '{migration.name}', '{migration.sha256}')"
            )
            new += 1
        elif digest != migration.sha256:
            raise ServiceError(
                f"migration {migration.name} was changed after it had been applied to {engine.place}, database "
                f"{engine.database}: put changes into a new migration"
            )
    return new


async def tune(engine: Engine) -> None:
    """Set the settings that the tables of the embedded engine need.

    Raises:
        ServiceError: ClickHouse refuses.
    """
    names = {table.name for table in TABLE_OF.values()}
    for name, statement in await engine.rows(
        "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase()"
    ):
        wanted = [text for key, value in EMBEDDED.items() if (text := f"{key} = {value}") not in statement]
        if name in names and wanted:
            await engine.command(f"ALTER TABLE {name} MODIFY SETTING {', '.join(wanted)}")
