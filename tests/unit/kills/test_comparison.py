"""The comparison of ``make kills`` finds what a sink could do wrong: a row lost, doubled, changed or exchanged."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiokafka import TopicPartition

from alphapulse import topics
from alphapulse.config import ClickHouseSettings, ParquetSettings, Settings
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.sampling import DepthSampling
from sinks.clickhouse.writer import ClickHouseTarget
from sinks.parquet.local import LocalStore
from sinks.parquet.names import visible
from sinks.parquet.writer import ParquetTarget
from tests.fixtures.lasting_engine import LastingEngine
from tests.fixtures.log import Log
from tests.fixtures.sink_life import live
from tests.kills.files import in_files
from tests.kills.queries import in_tables
from tests.kills.source import Expected, Source

RECORDS = 3_000
TABLES = ClickHouseSettings(batch_records=900)


def source(*wanted: str) -> tuple[Log, Expected]:
    """Return messages of topics as a log, and what has to be stored of them."""
    made = Source(RECORDS, damaged=10, seed=7)
    log = Log()
    for message in made.messages():
        if message.topic in wanted:
            log.append(TopicPartition(message.topic, message.partition), message.value)
    assert made.expected.messages(*made_of(made.expected)) == made.total
    return log, made.expected


def made_of(expected: Expected) -> set[str]:
    return {topic for topic, _ in expected.ends}


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    made = Engine(Settings(data_dir=tmp_path))
    await made.open(asyncio.Event())
    yield made
    await made.close()


async def test_tables_and_views(engine: Engine) -> None:
    log, expected = source(topics.TRADES, topics.L2, topics.DEPTH)
    sampling = DepthSampling(TABLES)
    await live(log, ClickHouseTarget(TABLES, LastingEngine(engine), "life", asyncio.Event(), sampling=sampling))
    assert len([topic for topic, _ in log.sent if topic == topics.DEAD_LETTERS]) == len(expected.damaged) == 10
    client = engine.another_client()

    def found() -> str:
        return "\n".join(in_tables(lambda query: bytes(client.raw_query(query, fmt="TabSeparated")), expected))

    assert found() == ""
    last = "(SELECT max(_offset) FROM {0} WHERE _partition = 1)"
    for statement, parts in (
        ("INSERT INTO l2 SELECT * FROM l2 LIMIT 1", ("table l2", "view v_l2")),
        (f"DELETE FROM depth WHERE _partition = 1 AND _offset = {last.format('depth')}", ("v_top_of_book",)),
        (f"DELETE FROM trades WHERE _partition = 1 AND _offset = {last.format('trades')}", ("table trades", "v_ohlcv")),
    ):
        await engine.command(statement)
        assert all(part in found() for part in parts), statement
    client.close()


def lose(root: Path, path: Path) -> None:
    path.unlink()


def double(root: Path, path: Path) -> None:
    shutil.copy(path, path.with_name(f"abcdef-{path.name.partition('-')[2]}"))


def exchange(root: Path, path: Path) -> None:
    """Exchange the sizes of two rows: their sum stays."""
    with pq.ParquetFile(path) as file:
        table, metadata = file.read(), file.metadata.metadata
    sizes = table.column("size").to_pylist()
    sizes[0], sizes[1] = sizes[1], sizes[0]
    at = table.schema.get_field_index("size")
    table = table.set_column(at, table.schema.field(at), pa.array(sizes, pa.int64()))
    pq.write_table(table.replace_schema_metadata(metadata), path, store_schema=False, write_page_checksum=True)


def leave(root: Path, path: Path) -> None:
    (root / ".work" / ".abcdef-life-1-2-3.tmp").touch()


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lose, ("verify: ", "in pyarrow", "in DuckDB", "in chDB")),
        (double, ("verify: overlap", "in pyarrow", "in DuckDB", "in chDB")),
        (exchange, ("md.trades in chDB",)),
        (leave, ("left over: .work/.abcdef-life-1-2-3.tmp",)),
    ],
)
async def test_files(tmp_path: Path, harm: Callable[[Path, Path], None], told: tuple[str, ...]) -> None:
    root = tmp_path / "parquet"
    log, expected = source(topics.TRADES, topics.L2)
    settings = Settings(parquet=ParquetSettings(path=str(root), batch_records=300))
    await live(log, ParquetTarget(settings, "life"), slices=[40] * 100)
    assert in_files(root, expected, tmp_path / "reader") == []
    files = visible(LocalStore(root).files(topics.TRADES))[0]
    # One that has files before and after it, in a partition with many.
    (busiest, count), *_ = Counter(file.partition for file in files).most_common()
    chosen = sorted((file for file in files if file.partition == busiest), key=lambda file: file.first)[count // 2]
    harm(root, root / chosen.path)
    found = "\n".join(in_files(root, expected, tmp_path / "reader"))
    assert all(part in found for part in told)
