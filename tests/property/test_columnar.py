"""Columns decoded at once equal those of the codec's records, and with damaged batches the same records are refused.

``$MUTATED_BATCHES`` says how many damaged batches there are to be in all (2,000 by default; ``make fuzz``: a night's);
``$MUTATED_SEED`` chooses others.
"""

from __future__ import annotations

import os
import random
import re
import struct
from io import BytesIO
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from aiokafka import TopicPartition
from fastavro.schema import to_parsing_canonical_form
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.errors import AlphaPulseError
from schemas.codec import Codec
from schemas.columnar import ColumnDecoder
from schemas.definitions import definition
from schemas.records import TOPIC_OF, ArbitrageOpportunity, Candle, DeadLetter, Depth, Event, L2Update, Record, Trade
from schemas.refusal_sender import RefusalSender
from schemas.refusals import Consumed
from schemas.registry import LocalRegistry, fingerprint_id
from sinks.buffer import Message
from sinks.columns import batch, schema
from sinks.decoder import RecordDecoder
from tests.fixtures.any_record import records
from tests.fixtures.columns import comparable
from tests.fixtures.examples import examples
from tests.fixtures.log import Log, LogProducer, message
from tests.fixtures.records import FULL, one_of_each

BATCHES = int(os.environ.get("MUTATED_BATCHES", "2000"))
SEED = int(os.environ.get("MUTATED_SEED", "1"))

COLUMNAR = [kind for kind in TOPIC_OF if kind is not Event]
"""An event has a map, which has no columns."""


def older(kind: type[Record]) -> dict[str, Any]:
    """Return the schema of a release before some fields of this one, with a field that is gone since."""
    parsed = definition(kind).parsed
    fields = [field for field in parsed["fields"] if "default" not in field or kind is Event]
    gone = {"name": "gone", "type": ["null", "string"]}
    made: dict[str, Any] = fastavro.parse_schema(  # type: ignore[assignment]
        {"type": "record", "name": parsed["name"], "fields": [*fields[:2], gone, *fields[2:]]}
    )
    return made


OLDER = {kind: older(kind) for kind in TOPIC_OF}
CODEC = Codec(LocalRegistry([(to_parsing_canonical_form(parsed), parsed) for parsed in OLDER.values()]))
DECODERS = {kind: ColumnDecoder(CODEC, kind, schema(kind)) for kind in TOPIC_OF}


def encoded_before(record: Record) -> bytes:
    """Encode a record as the older release did."""
    written = OLDER[type(record)]
    out = BytesIO(struct.pack(">bI", 0, fingerprint_id(to_parsing_canonical_form(written))))
    out.seek(5)
    fastavro.schemaless_writer(
        out, written, {**record.__dict__, "gone": "x" * (record.__dict__["symbol"] == "BTC-USD")}
    )
    return out.getvalue()


@pytest.mark.parametrize("kind", COLUMNAR, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_columns_equal_those_of_the_records(kind: type[Record], data: st.DataObject) -> None:
    drawn = data.draw(st.lists(records(kind), min_size=1, max_size=6))
    before = data.draw(st.lists(st.booleans(), min_size=len(drawn), max_size=len(drawn)))
    values = [
        encoded_before(record) if old else CODEC.encode(record) for record, old in zip(drawn, before, strict=True)
    ]
    assert columns_are_right(kind, values)


@given(st.sampled_from(COLUMNAR), st.lists(st.binary(max_size=80), min_size=1, max_size=4))
def test_any_bytes_give_the_codecs_records_or_nothing(kind: type[Record], bodies: list[bytes]) -> None:
    head = CODEC.encode(next(record for record in FULL if type(record) is kind))[:5]
    compare(kind, [head + body for body in bodies])


class Mutator:
    """Damages batches as a broken producer, disk or network could."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._pool: dict[type[Record], list[bytes]] = {kind: [] for kind in TOPIC_OF}
        for record in (*FULL, *one_of_each()):
            pool = self._pool[type(record)]
            pool += [CODEC.encode(record), CODEC.encode(record), encoded_before(record)]
        self._heads = [pool[0][:5] for pool in self._pool.values()] + [b"\0\0\0\0\1", b"\1\0\0\0\1", b""]

    def batch(self) -> tuple[type[Record], list[bytes]]:
        kind = self._random.choice((L2Update, L2Update, Trade, Depth, Candle, ArbitrageOpportunity, DeadLetter, Event))
        values = [self._random.choice(self._pool[kind]) for _ in range(self._random.randint(1, 9))]
        for _ in range(self._random.choice((1, 1, 1, 2, 3))):
            self._damage(values, self._random.randrange(len(values)))
        return kind, values

    def _damage(self, values: list[bytes], at: int) -> None:
        value, chance = values[at], self._random
        where = chance.randrange(len(value) + 1)
        match chance.randrange(8):
            case 0 | 1 if where < len(value):
                flipped = value[where] ^ 1 << chance.randrange(8)
                values[at] = value[:where] + bytes([flipped]) + value[where + 1 :]
            case 2 if where < len(value):
                values[at] = (
                    value[:where] + chance.choice((b"\0", b"\1", b"\x7f", b"\x80", b"\xff")) + value[where + 1 :]
                )
            case 3:
                values[at] = value[:where]
            case 4:
                values[at] = value + chance.choice((b"\0", chance.randbytes(3), values[0], values[0][5:]))
            case 5:  # the end of one becomes the beginning of the next one's body
                after = (at + 1) % len(values)
                values[at], values[after] = value[:where], values[after][:5] + value[where:] + values[after][5:]
            case 6:
                values[at] = chance.choice(self._heads) + value[5:]
            case _:
                values[at] = value[:where] + chance.randbytes(chance.randrange(4)) + value[where:]


class Refusals(RefusalSender):
    """Keeps what is refused instead of sending it: of millions."""

    def __init__(self) -> None:
        super().__init__("sink-test", LogProducer(Log()), CODEC)
        self.kept: list[tuple[int, bytes | None, str]] = []

    async def refuse(self, consumed: Consumed, error: AlphaPulseError) -> None:
        reason = re.sub("<[^>]* at 0x[0-9a-f]+>", "<>", str(error))
        self.kept.append((consumed.offset, consumed.value, reason))


def decoded(kind: type[Record], values: list[bytes], few: int) -> tuple[list[pa.Array[Any]], list[Any]]:
    """Return the columns of a batch and what was refused, where fewer than ``few`` records are decoded one by one."""
    key = TopicPartition(TOPIC_OF[kind], 3)
    messages: list[Message] = [message(key, 70 + at, value) for at, value in enumerate(values)]
    refusals = Refusals()
    decoder = RecordDecoder(CODEC, refusals)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sinks.decoder.COLUMNAR_RECORDS", few)
        running = decoder.chunks({key: messages})
        try:
            while True:
                running.send(None)
        except StopIteration as end:
            chunks = end.value
    for chunk in chunks:
        chunk.rows.validate(full=True)
    table = pa.Table.from_batches([chunk.rows for chunk in chunks], schema(kind)).unify_dictionaries()
    return comparable(table.combine_chunks().to_batches()[0].columns) if chunks else [], refusals.kept


def columns_are_right(kind: type[Record], values: list[bytes]) -> bool:
    """Return whether a batch has columns; check that they are those of its records, all good ones."""
    columns = DECODERS[kind].decode(values)
    if columns is None:
        return False
    wanted = batch(kind, [CODEC.decode_as(kind, value) for value in values], 0, range(len(values)))
    assert [column.type for column in columns] == wanted.schema.types[:-2]
    for found, expected, field in zip(comparable(columns), comparable(wanted.columns), wanted.schema, strict=False):
        found.validate(full=True)
        assert found.equals(expected), (field.name, values)
    return True


def compare(kind: type[Record], values: list[bytes]) -> None:
    """Check that both ways give the same rows and refuse the same records for the same reasons."""
    columns, refused = decoded(kind, values, 2)
    wanted, expected = decoded(kind, values, len(values) + 1)
    assert refused == expected
    assert len(columns) == len(wanted)
    for column, other, field in zip(columns, wanted, schema(kind), strict=False):
        assert column.equals(other), (field.name, values)


@pytest.mark.timeout(180 + BATCHES // 50)
@pytest.mark.parametrize("part", range(4))
def test_damaged_batches_lose_exactly_the_damaged_records(part: int) -> None:
    mutator = Mutator(SEED * 4 + part)
    accepted = 0
    for number in range(examples(BATCHES) // 4):
        kind, values = mutator.batch()
        accepted += columns_are_right(kind, values)
        if number % 8 == 0:  # the whole way takes ten times as long
            compare(kind, values)
    assert accepted > examples(BATCHES) // 40  # many damages give other values that are as good
