from __future__ import annotations

import struct
from dataclasses import replace
from io import BytesIO
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from fastavro.schema import to_parsing_canonical_form

from alphapulse.errors import RecordRefused
from alphapulse.fixed import EXPONENT_LIMIT
from schemas.codec import Codec
from schemas.columnar import ColumnDecoder
from schemas.definitions import definition
from schemas.records import Candle, DeadLetter, Depth, Event, L2Update, Record, Trade
from schemas.registry import LocalRegistry, fingerprint_id
from sinks.columns import batch, schema
from tests.fixtures.columns import comparable
from tests.fixtures.records import CANDLE, DEAD_LETTER, DEPTH, EVENT, FULL, L2, TRADE, l2, one_of_each, trade

CODEC = Codec()


def decoder(kind: type[Record], codec: Codec = CODEC) -> ColumnDecoder:
    return ColumnDecoder(codec, kind, schema(kind))


def decode(kind: type[Record], *values: bytes) -> list[pa.Array[Any]] | None:
    return decoder(kind).decode(values)


def check(kind: type[Record], values: list[bytes], codec: Codec = CODEC) -> None:
    """Check that the columns are there and equal those of the codec's records."""
    columns = decoder(kind, codec).decode(values)
    assert columns is not None
    wanted = batch(kind, [codec.decode_as(kind, value) for value in values], 0, range(len(values)))
    for found, expected, field in zip(columns, wanted.columns, wanted.schema, strict=False):
        found.validate(full=True)
        assert found.type == expected.type
        assert comparable([found])[0].equals(comparable([expected])[0]), field.name


def written(parsed: dict[str, Any], values: dict[str, Any]) -> bytes:
    out = BytesIO()
    out.write(struct.pack(">bI", 0, fingerprint_id(to_parsing_canonical_form(parsed))))
    fastavro.schemaless_writer(out, parsed, values)
    return out.getvalue()


def schema_of(kind: type[Record], **types: Any) -> dict[str, Any]:
    """Return the schema of ``kind`` with other types of some fields; None: without the field."""
    parsed = definition(kind).parsed
    fields = [
        {**field, "type": types.get(field["name"], field["type"])}
        for field in parsed["fields"]
        if types.get(field["name"], "kept") is not None
    ]
    made: dict[str, Any] = fastavro.parse_schema({"type": "record", "name": parsed["name"], "fields": fields})  # type: ignore[assignment]
    return made


def codec_with(*older: dict[str, Any]) -> Codec:
    return Codec(LocalRegistry([(to_parsing_canonical_form(parsed), parsed) for parsed in older]))


@pytest.mark.parametrize(
    ("full", "bare"),
    [pair for pair in zip(FULL, one_of_each(), strict=True) if not isinstance(pair[0], Event)],
    ids=lambda record: type(record).__name__,
)
def test_columns_of_every_class(full: Record, bare: Record) -> None:
    values = [CODEC.encode(record) for record in (bare, full, full, bare)]
    check(type(full), values)
    check(type(full), values[:1])
    check(type(full), values[1:3])


def test_numbers_of_every_size() -> None:
    edges = [sign * (1 << bits) + step for bits in range(63) for sign in (1, -1) for step in (-1, 0, 1)]
    edges += [2**63 - 1, -(2**63), 0]
    check(Trade, [CODEC.encode(replace(TRADE, price=edge, received_time=-1 - edge)) for edge in edges])
    check(L2Update, [CODEC.encode(replace(L2, bid_prices=edges, bid_sizes=edges[::-1], checksum=edges[0]))])


def test_texts_of_every_size_and_script() -> None:
    texts = ["", "a", "x" * 63, "x" * 64, "x" * 10_000, "ß", "…" * 70, "🂡", "\0", "a"]
    check(Trade, [CODEC.encode(replace(TRADE, trade_id=text, symbol=text[::-1])) for text in texts])
    binary = [text.encode() + b"\xff" for text in texts]
    check(DeadLetter, [CODEC.encode(replace(DEAD_LETTER, key=value, value=value)) for value in binary])


def test_thousands_of_levels_and_none() -> None:
    many = replace(DEPTH, bid_prices=list(range(5000)), bid_sizes=[-1] * 5000, ask_prices=[], ask_sizes=[])
    none = replace(many, bid_prices=[], bid_sizes=[])
    check(Depth, [CODEC.encode(record) for record in (none, many, none, none, many)])


WIDER: dict[type[Record], dict[str, Any]] = {DeadLetter: {"partition": ["null", "long"]}}


@pytest.mark.parametrize(
    "record",
    [
        replace(TRADE, price_exponent=EXPONENT_LIMIT + 1),
        replace(TRADE, size_exponent=-EXPONENT_LIMIT - 1),
        replace(CANDLE, revision=2**31),
        replace(CANDLE, revision=-(2**31) - 1),
        replace(DEAD_LETTER, partition=2**31),
        replace(L2, bid_sizes=[1]),
        replace(L2, ask_prices=[1, 2]),
    ],
)
def test_what_the_codec_would_not_accept_is_not_decoded(record: Record) -> None:
    kind = type(record)
    good = CODEC.encode(next(full for full in FULL if type(full) is kind))
    # The codec refuses to write it, too; another producer may.
    value = good[:5] + written(schema_of(kind, **WIDER.get(kind, {})), record.__dict__)[5:]
    with pytest.raises(RecordRefused):
        CODEC.decode(value)
    assert decode(kind, good, value, good) is None
    assert decode(kind, good, good) is not None


def body(*parts: bytes | str | int) -> bytes:
    """Return the encoding of texts and numbers, and bytes as they are."""
    out = BytesIO()
    for part in parts:
        if isinstance(part, bytes):
            out.write(part)
        else:
            fastavro.schemaless_writer(out, {"type": "string" if isinstance(part, str) else "long"}, part)
    return out.getvalue()


def l2_value(*lists: bytes) -> bytes:
    head = body(b"kraken"[:0], "kraken", "BTC-USD", 1, 5, 1, 0, 9, 9, -2, -8)
    return CODEC.encode(L2)[:5] + head + b"".join(lists) + body(0)


ONE = body(1, 77, 0)
TWO = body(2, 77, 78, 0)


def test_arrays_in_several_blocks_are_left_to_the_codec() -> None:
    assert decode(L2Update, l2_value(ONE, ONE, TWO, TWO)) is not None
    for usual, other in ((TWO, body(1, 77, 1, 78, 0)), (TWO, body(-2, 4, 77, 78, 0))):
        value = l2_value(other, usual, usual, other)
        record = CODEC.decode_as(L2Update, value)
        assert record.bid_prices == record.bid_sizes == [77, 78]
        assert decode(L2Update, value) is None


@pytest.mark.parametrize(
    "value",
    [
        l2_value(ONE, ONE, TWO),
        l2_value(ONE, ONE, TWO, body(3, 77, 78, 0)),
        l2_value(ONE, ONE, TWO, body(2**62, 77, 78, 0)),
        l2_value(ONE, ONE, TWO, body(-(2**63), 77, 78, 0)),
        l2_value(ONE, ONE, TWO, body(2, 77, 78)),
        l2_value(ONE, ONE, TWO, body(2) + b"\xff" * 10 + b"\1" + body(78, 0)),
        l2_value(ONE, ONE, TWO, body(2) + b"\xff" * 9 + b"\2" + body(78, 0)),
        l2_value(ONE, ONE, TWO, TWO) + b"\0",
        l2_value(ONE, ONE, TWO, TWO)[:-1] + body(2),
        l2_value(ONE, ONE, TWO, TWO)[:-1] + body(1),
        l2_value(ONE, ONE, TWO, TWO)[:-1] + b"\x80",
        l2_value(ONE, ONE, TWO, TWO).replace(b"\x0ckraken", b"\x0bkraken"),
        l2_value(ONE, ONE, TWO, TWO).replace(b"\x0ckraken", b"\xff\xff\xff\xff\x0fkraken"),
        l2_value(ONE, ONE, TWO, TWO).replace(b"BTC-USD\2", b"BTC-USD\x08"),
        l2_value(ONE, ONE, TWO, TWO).replace(b"BTC-USD\2", b"BTC-USD\1"),
        l2_value(ONE, ONE, TWO, TWO).replace(b"kraken", b"krak\xc3n"),
        CODEC.encode(TRADE),
        b"\1" + CODEC.encode(L2)[1:],
        b"\0\0\0\0\1" + CODEC.encode(L2)[5:],
        CODEC.encode(L2)[:5],
        b"\0",
        b"",
    ],
)
def test_damage_anywhere_in_a_batch(value: bytes) -> None:
    good = CODEC.encode(L2)
    for values in ((value,), (value, good), (good, value), (good, value, good)):
        assert decode(L2Update, *values) is None


def test_a_character_is_not_made_of_two_records_bytes() -> None:
    """Joined, the bytes of both texts would be UTF-8."""
    halves = [
        CODEC.encode(replace(TRADE, trade_id="aa")).replace(b"\4aa", b"\4" + half) for half in (b"a\xc3", b"\xa9a")
    ]
    assert decode(Trade, *halves) is None
    texts = [CODEC.encode(replace(TRADE, symbol="aa")).replace(b"\4aa", b"\4" + half) for half in (b"a\xc3", b"\xa9a")]
    assert decode(Trade, *texts) is None


def test_a_flag_is_0_or_1() -> None:
    value = CODEC.encode(replace(CANDLE, partial=True))
    assert decode(Candle, value) is not None
    assert decode(Candle, value[:-1] + b"\2") is None


def test_no_values_have_no_columns() -> None:
    assert decode(Trade) is None


def test_maps_are_left_to_the_codec() -> None:
    assert decode(Event, CODEC.encode(EVENT)) is None


def test_an_older_writer_gets_defaults() -> None:
    older = schema_of(Candle, first_trade_time=None, last_trade_time=None, partial=None)
    without = schema_of(L2Update, checksum=None, exchange_sequence=None)
    codec = codec_with(older, without)
    check(Candle, [written(older, CANDLE.__dict__)] * 3, codec)
    check(L2Update, [written(without, l2(number).__dict__) for number in range(5)], codec)


def test_a_field_that_is_gone_is_dropped() -> None:
    parsed = definition(Trade).parsed
    extra = [{"name": "fee", "type": ["null", "double"]}, {"name": "notes", "type": {"type": "array", "items": "long"}}]
    older: dict[str, Any] = fastavro.parse_schema(  # type: ignore[assignment]
        {"type": "record", "name": parsed["name"], "fields": [*parsed["fields"][:2], *extra, *parsed["fields"][2:]]}
    )
    values = [
        written(older, {**trade(number).__dict__, "fee": None if number % 2 else 0.1, "notes": [number] * number})
        for number in range(5)
    ]
    check(Trade, values, codec_with(older))


def test_several_writers_in_one_batch_keep_their_order() -> None:
    older = schema_of(L2Update, checksum=None)
    values = [
        written(older, l2(number).__dict__) if number % 3 else CODEC.encode(l2(number, symbol=f"S{number}-USD"))
        for number in range(20)
    ]
    check(L2Update, values, codec_with(older))


def test_an_enum_of_an_older_writer_is_mapped_by_its_symbols() -> None:
    fewer = {"type": "enum", "name": "alphapulse.Side", "symbols": ["SELL", "BUY"]}
    older = schema_of(Trade, side=fewer)
    check(Trade, [written(older, trade(number).__dict__) for number in range(4)], codec_with(older))
    newer = schema_of(Trade, side={**fewer, "symbols": ["SELL", "BUY", "CROSS"]})
    crossed = written(newer, {**TRADE.__dict__, "side": "CROSS"})
    assert codec_with(newer).decode_as(Trade, crossed).side == "UNKNOWN"
    assert decoder(Trade, codec_with(newer)).decode([crossed]) is None


def test_an_int_that_is_a_long_since() -> None:
    older = schema_of(Candle, trades="int")
    check(Candle, [written(older, CANDLE.__dict__)], codec_with(older))


@pytest.mark.parametrize(
    ("other", "example"),
    [("string", "5"), (["null", "long"], 5), ("double", 1.5), ({"type": "map", "values": "long"}, {"a": 1})],
)
def test_a_changed_type_is_left_to_the_codec(other: Any, example: Any) -> None:
    changed = schema_of(Trade, price=other)
    value = written(changed, {**TRADE.__dict__, "price": example})
    assert decoder(Trade, codec_with(changed)).decode([value]) is None


class Late(LocalRegistry):
    """A registry that learns of the schemas after a while."""

    known = False

    def schema(self, schema_id: int) -> dict[str, Any] | None:
        return super().schema(schema_id) if self.known else None


def test_an_unknown_id_is_asked_for_again() -> None:
    registry = Late()
    made = decoder(Trade, Codec(registry))
    assert made.decode([CODEC.encode(TRADE)]) is None
    registry.known = True
    assert made.decode([CODEC.encode(TRADE)]) is not None


class Foreign(LocalRegistry):
    """A registry that also has schemas of another format."""

    def schema(self, schema_id: int) -> dict[str, Any] | None:
        raise RecordRefused(f"schema {schema_id} is no Avro schema")


def test_a_schema_of_another_format_is_left_to_the_codec() -> None:
    assert decoder(Trade, Codec(Foreign())).decode([CODEC.encode(TRADE)]) is None


def test_another_type_of_the_same_name_is_left_to_the_codec() -> None:
    other: dict[str, Any] = fastavro.parse_schema({"type": "enum", "name": "alphapulse.Trade", "symbols": ["A"]})  # type: ignore[assignment]
    value = struct.pack(">bI", 0, fingerprint_id(to_parsing_canonical_form(other))) + b"\0"
    assert decoder(Trade, codec_with(other)).decode([value]) is None
    with pytest.raises(RecordRefused, match="not one of our records"):
        codec_with(other).decode(value)


def test_a_writer_without_a_field_that_has_no_default_is_left_to_the_codec() -> None:
    older = schema_of(Trade, side=None)
    assert decoder(Trade, codec_with(older)).decode([written(older, TRADE.__dict__)]) is None
