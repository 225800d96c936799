from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.records import L2Update, Record
from sinks.columns import batch, schema
from sinks.parquet.encodings import compacted, options
from tests.fixtures.records import one_of_each


@pytest.mark.parametrize("record", one_of_each(), ids=lambda record: type(record).__name__)
def test_every_record_class_can_be_written_and_read_back_exactly(record: Record, tmp_path: Path) -> None:
    rows = pa.Table.from_batches([batch(type(record), [record] * 3, 2, [5, 6, 7])], schema(type(record)))
    path = tmp_path / "x.parquet"
    for chosen in (options(type(record)), compacted(type(record), rows.schema)):
        with pq.ParquetWriter(path, rows.schema, **chosen) as writer:
            writer.write_table(rows)
        found = pq.read_table(path, partitioning=None)
        for name in rows.column_names:
            assert found.column(name).to_pylist() == rows.column(name).to_pylist(), name
        first = pq.ParquetFile(path).metadata.row_group(0).column(0)
        assert first.compression == "ZSTD"


def test_only_compaction_spends_more_processor_time() -> None:
    rows = schema(L2Update)
    sink, joined = options(L2Update, rows), compacted(L2Update, rows)
    assert joined.pop("compression_level") > sink.pop("compression_level")
    assert joined == sink
