"""Records to bytes and back, and every way in which bytes can be wrong.

Round trips over all values are in tests/property/test_codec.py.
"""

from __future__ import annotations

import copy
import json
import struct
from dataclasses import replace
from io import BytesIO
from typing import Any

import fastavro
import pytest
from fastavro.schema import to_parsing_canonical_form

from alphapulse.errors import RecordRefused
from schemas.codec import Codec
from schemas.definitions import Definition, definition
from schemas.records import Event, L2Update, Record, Trade
from schemas.registry import LocalRegistry, fingerprint_id
from tests.fixtures.records import CANDLE, DEAD_LETTER, DEPTH, EVENT, FULL, L2, TRADE


def ids(records: list[Record]) -> list[str]:
    return [type(record).__name__ for record in records]


@pytest.fixture
def codec() -> Codec:
    return Codec()


def nested(depth: int) -> list[Any]:
    """Return lists within lists, deeper than ``repr`` can go."""
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


def head(kind: type[Record]) -> bytes:
    return struct.pack(">bI", 0, fingerprint_id(definition(kind).canonical))


class Registry(LocalRegistry):
    """One more schema, under id 7."""

    def __init__(self, written: Any) -> None:
        super().__init__()
        self.written = written

    def schema(self, schema_id: int) -> Any:
        return self.written if schema_id == 7 else super().schema(schema_id)


def written_with(schema: dict[str, Any], values: dict[str, Any]) -> tuple[Codec, bytes]:
    """Return a codec that knows ``schema``, and ``values`` as encoded with it."""
    parsed: Any = fastavro.parse_schema(schema)
    out = BytesIO()
    fastavro.schemaless_writer(out, parsed, values)
    return Codec(Registry(parsed)), struct.pack(">bI", 0, 7) + out.getvalue()


def schema_of(kind: type[Record]) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(definition(kind).text)
    return schema


@pytest.mark.parametrize("record", FULL, ids=ids(FULL))
def test_round_trip(codec: Codec, record: Record) -> None:
    value = codec.encode(record)
    assert codec.decode(value) == record
    assert codec.decode_as(type(record), value) == record


@pytest.mark.parametrize("record", FULL, ids=ids(FULL))
def test_wire_format(codec: Codec, record: Record) -> None:
    """https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/#wire-format"""
    value = codec.encode(record)
    assert value[0] == 0
    assert int.from_bytes(value[1:5], "big") == LocalRegistry().register(definition(type(record)))
    body = fastavro.schemaless_reader(BytesIO(value[5:]), definition(type(record)).parsed, None)
    assert body == record.__dict__


def test_optional_fields_may_be_absent(codec: Codec) -> None:
    bare = replace(L2, exchange_sequence=None, checksum=None)
    assert codec.decode(codec.encode(bare)) == bare


@pytest.mark.parametrize("record", FULL, ids=ids(FULL))
def test_cut_off_anywhere(codec: Codec, record: Record) -> None:
    value = codec.encode(record)
    for length in range(len(value)):
        with pytest.raises(RecordRefused):
            codec.decode(value[:length])


@pytest.mark.parametrize("record", FULL, ids=ids(FULL))
def test_bytes_behind_the_record(codec: Codec, record: Record) -> None:
    with pytest.raises(RecordRefused, match=r"^1 surplus bytes"):
        codec.decode(codec.encode(record) + b"\x00")


@pytest.mark.parametrize("value", [b"", b"\x00", b"\x00\x00\x00\x00", b"\x01\x00\x00\x00\x01abc", b'{"json": 1}'])
def test_no_wire_format(codec: Codec, value: bytes) -> None:
    with pytest.raises(RecordRefused, match="not in the Confluent wire format"):
        codec.decode(value)


def test_an_unknown_id(codec: Codec) -> None:
    with pytest.raises(RecordRefused, match="schema 5 is not known to the registry"):
        codec.decode(b"\x00\x00\x00\x00\x05abc")


def test_another_record_than_expected(codec: Codec) -> None:
    with pytest.raises(RecordRefused, match="expected L2Update, found Trade"):
        codec.decode_as(L2Update, codec.encode(TRADE))


@pytest.mark.parametrize(
    ("record", "field", "value", "reason"),
    [
        (TRADE, "price", 1.0, "price: not an integer, found 1.0"),
        (TRADE, "price", True, "price: not an integer, found True"),
        (TRADE, "price", "1", "price: not an integer, found '1'"),
        (TRADE, "price", None, "price: not an integer, found None"),
        (TRADE, "price", 2**63, "price: beyond Avro's long, found 9223372036854775808"),
        (TRADE, "size", -(2**63) - 1, "size: beyond Avro's long"),
        (TRADE, "price_exponent", 2**31, "price_exponent: beyond Avro's int"),
        (TRADE, "price_exponent", -101, "price_exponent: beyond ±100, found -101"),
        (TRADE, "size_exponent", 101, "size_exponent: beyond ±100"),
        (TRADE, "side", "BOTH", "side: not of the type enum of UNKNOWN, BUY, SELL, found 'BOTH'"),
        (TRADE, "venue", b"kraken", "venue: not of the type string"),
        (TRADE, "venue", None, "venue: not of the type string"),
        (TRADE, "venue", "\ud800", "venue: not encodable as UTF-8"),
        (L2, "bid_prices", [1.5, 2], "bid_prices: not a list of integers"),
        (L2, "bid_prices", 5, "bid_prices: not a list of integers"),
        (L2, "bid_prices", [2**63, 1], "bid_prices: an item beyond Avro's long"),
        (L2, "bid_prices", [1], "bid_prices, bid_sizes: 1 prices but 2 sizes"),
        (L2, "ask_sizes", [], "ask_prices, ask_sizes: 1 prices but 0 sizes"),
        (L2, "checksum", 1.5, "checksum: not of the type null or long"),
        (DEPTH, "valid", "no", "valid: not a boolean, found 'no'"),
        (DEPTH, "valid", 1, "valid: not a boolean, found 1"),
        (EVENT, "details", {"a": 1}, "details: not of the type map"),
        (EVENT, "details", {"a": "\ud800"}, "details: not encodable as UTF-8"),
        (CANDLE, "revision", 2**31, "revision: beyond Avro's int"),
        (TRADE, "venue", nested(5_000), "venue: not of the type string, found [[[[[...]]]]]"),
        (DEAD_LETTER, "partition", 2**31, "partition: "),
    ],
)
def test_what_does_not_fit_is_refused_and_named(
    codec: Codec, record: Record, field: str, value: Any, reason: str
) -> None:
    wrong = copy.copy(record)
    setattr(wrong, field, value)
    with pytest.raises(RecordRefused) as caught:
        codec.encode(wrong)
    assert str(caught.value).startswith(f"{type(record).__name__} does not fit its schema: {reason}")
    assert len(str(caught.value)) < 600


def test_a_missing_field_is_named(codec: Codec) -> None:
    wrong = copy.copy(TRADE)
    del wrong.symbol
    with pytest.raises(RecordRefused, match="does not fit its schema: symbol: missing"):
        codec.encode(wrong)
    del wrong.price
    with pytest.raises(RecordRefused, match="does not fit its schema: symbol: missing"):
        codec.encode(wrong)


def body(schema: dict[str, Any], values: dict[str, Any]) -> bytes:
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), values)
    return out.getvalue()


def spoilt(record: Record, field: str, raw: bytes) -> bytes:
    """Return ``record`` encoded with ``field`` written as ``raw`` instead."""
    kind = type(record)
    schema = schema_of(kind)
    raw_type = {"type": "fixed", "name": "Raw", "size": len(raw)}
    schema["fields"] = [
        {"name": field, "type": raw_type} if item["name"] == field else item for item in schema["fields"]
    ]
    return head(kind) + body(schema, {**record.__dict__, field: raw})


def varint(value: int) -> bytes:
    """Avro's zig-zag variable-length integer."""
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value & ~0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@pytest.mark.parametrize("index", [-1, -2, -3, 3, 2**40, -(2**63)])
def test_an_enum_index_that_is_none(codec: Codec, index: int) -> None:
    assert codec.decode(spoilt(TRADE, "side", varint(2))) == replace(TRADE, side="SELL")
    with pytest.raises(RecordRefused, match="body does not fit schema"):
        codec.decode(spoilt(TRADE, "side", varint(index)))


@pytest.mark.parametrize("index", [-3, 2, 2**40])
def test_a_union_branch_that_is_none(codec: Codec, index: int) -> None:
    with pytest.raises(RecordRefused):
        codec.decode(spoilt(L2, "checksum", varint(index) + varint(5)))


@pytest.mark.parametrize("exponent", [101, -101, 2**31, -(2**63)])
def test_an_absurd_exponent(codec: Codec, exponent: int) -> None:
    with pytest.raises(RecordRefused, match="price_exponent"):
        codec.decode(spoilt(TRADE, "price_exponent", varint(exponent)))


def test_sides_that_do_not_match(codec: Codec) -> None:
    with pytest.raises(RecordRefused, match="bid_prices, bid_sizes: 3 prices but 2 sizes"):
        codec.decode(head(L2Update) + body(schema_of(L2Update), {**L2.__dict__, "bid_prices": [1, 2, 3]}))


@pytest.mark.parametrize(
    "raw",
    [
        varint(2**62),  # as many items as no memory holds
        varint(2**31) + varint(1),
        varint(-(2**62)) + varint(8) + varint(1),
        varint(-(2**63)) + varint(0),
        varint(-1) + varint(-(2**63)),
        varint(2**62) * 50,
    ],
)
def test_a_malicious_count_neither_hangs_nor_fills_the_memory(codec: Codec, raw: bytes) -> None:
    for field in ("bid_prices", "ask_sizes"):
        with pytest.raises(RecordRefused):
            codec.decode(spoilt(L2, field, raw))
    with pytest.raises(RecordRefused):
        codec.decode(spoilt(EVENT, "details", raw))


@pytest.mark.parametrize("length", [2**62, 2**31, 10_000, -1, -(2**63)])
def test_a_malicious_length_neither_hangs_nor_fills_the_memory(codec: Codec, length: int) -> None:
    with pytest.raises(RecordRefused):
        codec.decode(spoilt(TRADE, "trade_id", varint(length) + b"abc"))


def test_a_block_of_negative_count_is_read_as_avro_says(codec: Codec) -> None:
    """A negative count is followed by the block's size in bytes."""
    items = varint(6168599) + varint(6168500)
    raw = varint(-2) + varint(len(items)) + items + varint(0)
    assert codec.decode(spoilt(L2, "bid_prices", raw)) == L2


def test_text_that_is_no_utf8(codec: Codec) -> None:
    with pytest.raises(RecordRefused):
        codec.decode(spoilt(TRADE, "trade_id", varint(2) + b"\xff\xfe"))


class TestEvolution:
    """Records of other releases, through a registry that knows their schemas."""

    def test_an_older_writer_lacked_fields(self) -> None:
        older = schema_of(L2Update)
        older["fields"] = [f for f in older["fields"] if f["name"] not in ("checksum", "exchange_sequence")]
        codec, value = written_with(older, L2.__dict__)
        assert codec.decode(value) == replace(L2, checksum=None, exchange_sequence=None)

    def test_defaults_are_not_shared_between_records(self) -> None:
        older = schema_of(Event)
        older["fields"] = [f for f in older["fields"] if f["name"] != "details"]
        codec, value = written_with(older, EVENT.__dict__)
        first, second = codec.decode_as(Event, value), codec.decode_as(Event, value)
        first.details["mine"] = "yes"
        assert second.details == {}
        assert codec.decode_as(Event, value).details == {}

    def test_a_newer_writer_has_more_fields(self) -> None:
        newer = schema_of(Trade)
        newer["fields"].insert(3, {"name": "maker", "type": ["null", "string"], "default": None})
        codec, value = written_with(newer, {**TRADE.__dict__, "maker": "me"})
        assert codec.decode(value) == TRADE

    def test_a_newer_writer_knows_more_symbols(self) -> None:
        newer = schema_of(Trade)
        side = next(f["type"] for f in newer["fields"] if f["name"] == "side")
        side["symbols"].append("AUCTION")
        codec, value = written_with(newer, {**TRADE.__dict__, "side": "AUCTION"})
        assert codec.decode(value) == replace(TRADE, side="UNKNOWN")

    def test_an_older_writer_had_a_narrower_type(self) -> None:
        older = schema_of(Trade)
        for field in older["fields"]:
            if field["name"] == "price":
                field["type"] = "int"
        codec, value = written_with(older, TRADE.__dict__)
        assert codec.decode(value) == TRADE

    def test_only_the_documentation_changed(self) -> None:
        documented = schema_of(Trade)
        documented["doc"] = "Another text."
        assert to_parsing_canonical_form(documented) == definition(Trade).canonical
        codec, value = written_with(documented, TRADE.__dict__)
        assert codec.decode(value) == TRADE

    @pytest.mark.parametrize("index", [-1, 4])
    def test_enum_indices_are_checked_there_too(self, index: int) -> None:
        newer = schema_of(Trade)
        newer["fields"].append({"name": "note", "type": "string", "default": ""})
        side = next(f for f in newer["fields"] if f["name"] == "side")
        raw = varint(index)
        spoilt = {**newer, "fields": [dict(f) for f in newer["fields"]]}
        next(f for f in spoilt["fields"] if f["name"] == "side")["type"] = {
            "type": "fixed",
            "name": "Raw",
            "size": len(raw),
        }
        assert side["type"]["type"] == "enum"
        codec = Codec(Registry(fastavro.parse_schema(newer)))
        with pytest.raises(RecordRefused):
            codec.decode(struct.pack(">bI", 0, 7) + body(spoilt, {**TRADE.__dict__, "side": raw, "note": ""}))

    def test_an_incompatible_writer(self) -> None:
        other = schema_of(Trade)
        for field in other["fields"]:
            if field["name"] == "price":
                field["type"] = "string"
        codec, value = written_with(other, {**TRADE.__dict__, "price": "1"})
        with pytest.raises(RecordRefused, match="Schema mismatch"):
            codec.decode(value)

    def test_a_writer_without_a_field_that_has_no_default(self) -> None:
        other = schema_of(Trade)
        other["fields"] = [f for f in other["fields"] if f["name"] != "price"]
        codec, value = written_with(other, TRADE.__dict__)
        with pytest.raises(RecordRefused, match="price"):
            codec.decode(value)

    @pytest.mark.parametrize("written", ["string", {"type": "array", "items": "long"}, ["null", "long"]])
    def test_a_schema_that_is_no_record(self, written: Any) -> None:
        with pytest.raises(RecordRefused, match="not one of our records"):
            Codec(Registry(written)).decode(b"\x00\x00\x00\x00\x07\x00")


def test_ids_are_asked_for_once_each() -> None:
    asked: list[str] = []

    class Counting(LocalRegistry):
        def register(self, definition: Definition) -> int:
            asked.append(definition.subject)
            return super().register(definition)

        def schema(self, schema_id: int) -> Any:
            asked.append(str(schema_id))
            return super().schema(schema_id)

    codec = Codec(Counting())
    codec.prepare()
    assert len(asked) == len(FULL)
    for _ in range(3):
        for record in FULL:
            codec.decode(codec.encode(record))
    assert len(asked) == 2 * len(FULL)
