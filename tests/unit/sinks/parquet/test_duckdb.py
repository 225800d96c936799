"""docs/duckdb.md: DuckDB answers on the files what the library's queries answer on the tables.

Both are compared with the same figures in plain Python; test_library.py does so for ClickHouse.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pytest

from sinks.clickhouse.library import library
from tests.fixtures import desk_figures as figures
from tests.fixtures.recorded_tables import Recorded, recorded, write_parquet

pytestmark = pytest.mark.xdist_group("duckdb")

ROOT: Final = Path(__file__).resolve().parents[4]
BLOCKS: Final = dict(
    re.findall(r"```sql\n-- (\w+)\n(.*?)```", (ROOT / "docs" / "duckdb.md").read_text(encoding="utf-8"), re.DOTALL)
)
NEEDS: Final = {
    "effective_spread": "trades_with_book",
    "quoted_spread": "trades_with_book",
    "depth_and_slippage": "book_at",
}
FROM, TO = 1_795_910_600_000_000_000, 1_795_910_611_500_000_000
WITHIN: Final = {"since": "2026-11-29 00:03:20+00", "until": "2026-11-29 00:03:31.5+00"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("files")
    write_parquet(root, recorded().records)
    return root


@pytest.fixture
def database(files: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    made = duckdb.connect()
    made.execute("SET TimeZone = 'UTC'")
    for name in ("setup", "everything"):
        made.execute(BLOCKS[name].replace("data/demo/parquet", str(files)))
    made.execute(BLOCKS["variables"])
    yield made
    made.close()


def statements(name: str) -> list[str]:
    return [statement for part in BLOCKS[name].split(";\n") if (statement := part.strip())]


def asked(database: duckdb.DuckDBPyConnection, name: str, **variables: str | float) -> list[dict[str, Any]]:
    """Run a block of the page; return the rows of its last statement, times in nanoseconds, dates in days."""
    for key, value in variables.items():
        database.execute(f"SET VARIABLE {key} = {value!r}")
    *before, last = statements(name)
    for statement in (*(statements(NEEDS[name])[:-1] if name in NEEDS else ()), *before):
        database.execute(statement)
    table = database.sql(last).to_arrow_table()
    for number, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            column = table[field.name].cast(pa.timestamp("ns", field.type.tz)).cast(pa.int64())
            table = table.set_column(number, field.name, column)
        elif pa.types.is_date32(field.type):
            table = table.set_column(number, field.name, table[field.name].cast(pa.int32()))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def same(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    """Compare rows; a mean that DuckDB computes as a double with the exact one."""
    assert len(found) == len(wanted) > 0
    for row, want in zip(found, wanted, strict=True):
        assert list(row) == list(want)
        for name, value in row.items():
            expected = want[name]
            if isinstance(value, float):
                assert math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-7), (name, row, want)
            else:
                assert value == expected, (name, row, want)


@pytest.fixture
def data() -> Recorded:
    """Records without the statistics, which are no files by default."""
    from schemas.records import DeltaStatistics

    return Recorded({kind: found for kind, found in recorded().records.items() if kind is not DeltaStatistics})


def test_the_files_of_a_demo_suffice_for_what_the_page_says(files: Path, tmp_path: Path) -> None:
    """A demo has neither quotes nor, by default, ``md.depth`` and ``ops.events``."""
    page = (ROOT / "docs" / "duckdb.md").read_text(encoding="utf-8")
    listed = page.partition("With that the queries run")[2].partition(". The others need")[0]
    named = [name for name in re.findall(r"`(\w+)`", listed) if name in BLOCKS]
    assert len(named) == 8
    for topic in ("md.trades", "md.l2", "signals.arbitrage"):
        (tmp_path / topic).symlink_to(files / topic)
    with duckdb.connect() as made:
        made.execute("SET TimeZone = 'UTC'")
        for name in ("setup", "demo", "variables"):
            made.execute(BLOCKS[name].replace("data/demo/parquet", str(tmp_path)))
        for name in named:
            assert asked(made, name), name


@pytest.mark.parametrize("symbol", ["BTC-USD", "SHIB-USD", "AAPL"])
def test_candles_and_spreads(database: duckdb.DuckDBPyConnection, data: Recorded, symbol: str) -> None:
    same(asked(database, "ohlcv", symbol=symbol), figures.ohlcv(data, symbol))
    short = asked(database, "ohlcv", seconds=0.25, venue="%a%", **WITHIN)
    same(short, figures.ohlcv(data, symbol, seconds="0.25", venue="%a%", times=(FROM, TO)))
    asked(database, "ohlcv", since="1970-01-01 00:00:00+00", until="2200-01-01 00:00:00+00", venue="%", seconds=5)
    same(asked(database, "trades_with_book"), figures.trades_with_book(data, symbol))
    same(asked(database, "effective_spread"), figures.effective_spread(data, symbol))
    same(asked(database, "quoted_spread"), figures.quoted_spread(data, symbol, seconds="5"))
    narrow = asked(database, "effective_spread", max_age_ms=50, **WITHIN)
    # Unlike ClickHouse's query, the view does not know where the time ends: an older book is the same one.
    same(narrow, figures.effective_spread(data, symbol, max_age_ms=50, times=(FROM, TO)))


def test_what_is_newest(database: duckdb.DuckDBPyConnection, data: Recorded) -> None:
    same(asked(database, "latest_trades"), figures.latest_trades(data, "BTC-USD", venue="kraken"))
    same(asked(database, "latest_book"), figures.latest_book(data, "BTC-USD", venue="kraken"))
    then = asked(database, "latest_book", until="2026-11-29 00:03:31.5+00")
    same(then, figures.latest_book(data, "BTC-USD", venue="kraken", until=TO))


@pytest.mark.parametrize("symbol", ["BTC-USD", "ETH-USD"])
@pytest.mark.parametrize(
    "at", [(TO, "2026-11-29 00:03:31.5+00"), (2**63, "2200-01-01 00:00:00+00")], ids=["then", "now"]
)
def test_books(database: duckdb.DuckDBPyConnection, data: Recorded, symbol: str, at: tuple[int, str]) -> None:
    found = asked(database, "book_at", symbol=symbol, instant=at[1])
    same(found, figures.book_at(data, symbol, venue="kraken", at=at[0]))
    for size in ("0.5", "100000"):
        swept = asked(database, "depth_and_slippage", size=float(size))
        same(swept, figures.depth_and_slippage(data, symbol, size=size, at=at[0]))


def test_a_book_of_which_records_are_missing_is_not_there(database: duckdb.DuckDBPyConnection) -> None:
    database.execute("CREATE TEMP TABLE few AS SELECT * FROM l2 WHERE NOT (venue = 'kraken' AND sequence = 1)")
    database.execute("CREATE OR REPLACE VIEW l2 AS SELECT * FROM few")
    assert asked(database, "book_at") == []
    assert {row["venue"] for row in asked(database, "depth_and_slippage")} == {"coinbase", "binance_us"}


def test_the_others(database: duckdb.DuckDBPyConnection, data: Recorded) -> None:
    same(asked(database, "opportunities"), figures.opportunities(data))
    same(asked(database, "gaps"), figures.gaps(data))
    same(asked(database, "busiest_minutes"), figures.busiest_minutes(data))
    same(asked(database, "feed_latency"), figures.feed_latency(data))
    same(
        asked(database, "lead_lag", since="2026-01-01 00:00:00+00"),
        figures.lead_lag(data, "BTC-USD", times=(FROM - 10**15, 2**63)),
    )
    same(asked(database, "gaps", **WITHIN), figures.gaps(data, times=(FROM, TO)))
    same(asked(database, "feed_latency", venue="k%"), figures.feed_latency(data, venue="k%", times=(FROM, TO)))


def test_prices_are_exact_or_an_error(database: duckdb.DuckDBPyConnection) -> None:
    (found,) = database.execute("SELECT exact(9223372036854775807, -18), exact(-1, -18), exact(7, 0)").fetchall()
    assert found == (Decimal("9.223372036854775807"), Decimal("-0.000000000000000001"), Decimal(7))
    with pytest.raises(duckdb.ConversionException):
        database.execute("SELECT exact(1, 3)").fetchall()


def test_the_page_asks_what_the_library_asks() -> None:
    assert BLOCKS.keys() - {"setup", "demo", "everything", "variables"} == library().keys() - {"slippage_history"}
