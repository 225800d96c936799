"""What a sink does with the tables before it writes, and what it says of those that it cannot write."""

from __future__ import annotations

from alphapulse import logs
from alphapulse.config import ClickHouseSettings
from alphapulse.errors import ServiceError
from sinks.clickhouse import retention
from sinks.clickhouse.engine import NO_SUCH_COLUMN, UNKNOWN_TABLE, Engine, StatementRefused
from sinks.clickhouse.tables import NewerSchema, migrate, missing_tables, missing_text, tune


async def prepare(engine: Engine, settings: ClickHouseSettings) -> None:
    """Migrate the tables and check them; set their TTLs if configured so.

    Args:
        engine: open.
        settings: topics and TTLs.

    Raises:
        Unreachable: not now.
        ServiceError: a table was dropped, or ClickHouse refuses.
    """
    log = logs.get("clickhouse")
    new = 0
    try:
        new = await migrate(engine)
    except NewerSchema as error:
        # Migrations only add. Whoever goes back to an earlier release would have no sink at all otherwise.
        log.warning("the tables are of a later release than this sink", reason=str(error))
    if new:
        log.info("migrations applied", count=new, place=engine.place)
    elif missing := await missing_tables(engine, settings.topics):
        # Not created anew silently: who dropped it may not know that it is filled.
        raise ServiceError(missing_text(engine, missing))
    if engine.embedded:
        await tune(engine)
    if settings.ttl_at_start:
        for each in await retention.apply(engine, settings, by_hand_too=False):
            log.info("TTL set", table=each.table.name, before=each.expression, days=each.wanted_days)
    if differing := [each for each in await retention.ttls(engine, settings) if not each.as_configured]:
        log.warning(
            "TTLs are not as configured: `alphapulse clickhouse ttl` sets them",
            tables=[retention.told(each) for each in differing],
        )


def explained(engine: Engine, table: str, error: StatementRefused) -> ServiceError:
    """Return ``error``, or one that says what to do about a table that is not as it was.

    Args:
        engine: that refused a statement.
        table: name of the table in the statement.
        error: the refusal.
    """
    if error.code == UNKNOWN_TABLE:
        return ServiceError(missing_text(engine, [table]))
    if error.code == NO_SUCH_COLUMN:
        return ServiceError(
            f"table {table} in {engine.place}, database {engine.database}, lacks a column of this release: "
            f"`alphapulse clickhouse migrate` adds it, then start the sink again ({error})"
        )
    return error
