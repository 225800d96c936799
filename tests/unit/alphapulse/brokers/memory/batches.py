"""Record batches as a producer sends them, made by aiokafka's own builder."""

from __future__ import annotations

from collections.abc import Sequence

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords


def batch(
    values: Sequence[bytes], *, time: int = 1_000, producer: int = -1, epoch: int = -1, sequence: int = -1
) -> memoryview:
    """Return one batch of records with these values, a millisecond apart."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=producer,
        producer_epoch=epoch,
        base_sequence=sequence,
        batch_size=1 << 20,
    )
    for number, value in enumerate(values):
        assert builder.append(number, timestamp=time + number, key=None, value=value, headers=[]) is not None
    return memoryview(bytes(builder.build()))


def records(batches: Sequence[bytes]) -> list[tuple[int, bytes]]:
    """Return offset and value of each record of batches that were read."""
    found: list[tuple[int, bytes]] = []
    reader = MemoryRecords(b"".join(batches))
    while (following := reader.next_batch()) is not None:
        assert following.validate_crc()
        found += [(record.offset, record.value) for record in following]
    return found
