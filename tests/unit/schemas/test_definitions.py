"""The schema files say what the record classes say, and their ids stay what they are."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any

import pytest

from alphapulse import topics
from schemas import records
from schemas.definitions import definition, definitions, file_name
from schemas.records import TOPIC_OF, L2Update, Record, key_of
from schemas.registry import LocalRegistry, fingerprint_id
from tests.fixtures.records import FULL

AVRO = Path(records.__file__).parent / "avro"
IDS = Path(__file__).with_name("ids.json")

_PRIMITIVES: dict[Any, str] = {bool: "boolean", str: "string", bytes: "bytes", float: "double", type(None): "null"}


def raw(record: type[Record]) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((AVRO / file_name(record)).read_text(encoding="utf-8"))
    return schema


def fits(annotation: Any, avro: Any) -> bool:
    """Whether a field's annotation is the Python type of an Avro type."""
    if isinstance(avro, list):
        options = typing.get_args(annotation)
        return len(options) == len(avro) and all(any(fits(option, item) for option in options) for item in avro)
    if isinstance(avro, dict) and avro["type"] == "enum":
        return typing.get_args(annotation) == tuple(avro["symbols"])
    if isinstance(avro, dict) and avro["type"] == "array":
        return typing.get_origin(annotation) is list and fits(typing.get_args(annotation)[0], avro["items"])
    if isinstance(avro, dict) and avro["type"] == "map":
        return typing.get_origin(annotation) is dict and fits(typing.get_args(annotation)[1], avro["values"])
    if annotation is int:
        return bool(avro in ("int", "long"))
    return bool(_PRIMITIVES.get(annotation) == avro)


@pytest.mark.parametrize("record", TOPIC_OF)
def test_class_and_schema_have_the_same_fields_in_the_same_order(record: type[Record]) -> None:
    assert [field.name for field in dataclasses.fields(record)] == [field["name"] for field in raw(record)["fields"]]


@pytest.mark.parametrize("record", TOPIC_OF)
def test_class_and_schema_have_the_same_types(record: type[Record]) -> None:
    hints = typing.get_type_hints(record)
    for field in raw(record)["fields"]:
        assert fits(hints[field["name"]], field["type"]), field


@pytest.mark.parametrize("record", TOPIC_OF)
def test_class_and_schema_have_the_same_defaults(record: type[Record]) -> None:
    schema = {field["name"]: field for field in raw(record)["fields"]}
    for field in dataclasses.fields(record):
        if field.default is not dataclasses.MISSING:
            assert schema[field.name]["default"] == field.default
        elif field.default_factory is not dataclasses.MISSING:
            assert schema[field.name]["default"] == field.default_factory()
        else:
            assert "default" not in schema[field.name]


@pytest.mark.parametrize("record", TOPIC_OF)
def test_every_schema_and_field_is_documented(record: type[Record]) -> None:
    schema = raw(record)
    assert (schema["namespace"], schema["name"]) == ("alphapulse", record.__name__)
    assert schema["doc"] == record.__doc__
    assert all(field["doc"] for field in schema["fields"])


def test_exponents_are_int_and_times_and_mantissas_long() -> None:
    for record in TOPIC_OF:
        for field in raw(record)["fields"]:
            if field["name"].endswith("exponent"):
                assert field["type"] == "int"
            elif field["name"].endswith("_time") or "price" in field["name"].split("_"):
                assert field["type"] in ("long", {"type": "array", "items": "long"})


def test_every_file_belongs_to_a_class_and_every_class_to_the_union() -> None:
    assert {path.name for path in AVRO.iterdir()} == {file_name(record) for record in TOPIC_OF}
    assert isinstance(Record, types.UnionType)
    assert set(typing.get_args(Record)) == set(TOPIC_OF)
    assert {type(record) for record in FULL} == set(TOPIC_OF)


def test_each_record_has_its_topic_and_subject() -> None:
    assert sorted(TOPIC_OF.values()) == sorted(topic.name for topic in topics.TOPICS)
    assert definition(L2Update).subject == "md.l2-value"
    assert [d.record for d in definitions()] == list(TOPIC_OF)


def test_file_names() -> None:
    assert file_name(L2Update) == "l2_update.avsc"
    assert file_name(records.DeltaStatistics) == "delta_statistics.avsc"


def test_ids_are_those_of_the_releases() -> None:
    """A changed id means that records of another release cannot be read without a registry.

    If the change is wanted (a field added with a default), write the new ids into ids.json and say so in the
    changelog.
    """
    assert {d.subject: fingerprint_id(d.canonical) for d in definitions()} == json.loads(IDS.read_text())


def test_ids_are_distinct_and_positive_for_a_signed_reader() -> None:
    ids = [fingerprint_id(d.canonical) for d in definitions()]
    assert len(set(ids)) == len(ids)
    assert all(0 <= schema_id < 2**31 for schema_id in ids)


def test_the_id_is_that_of_the_canonical_form_alone() -> None:
    local = LocalRegistry()
    for d in definitions():
        assert local.register(d) == fingerprint_id(d.canonical)
        assert local.schema(local.register(d)) == d.parsed
    assert local.schema(1) is None


def test_a_local_registry_may_know_older_schemas() -> None:
    parsed = {"type": "record", "name": "alphapulse.Trade", "fields": []}
    known = LocalRegistry([("canonical", parsed), (definition(L2Update).canonical, {})])
    assert known.schema(fingerprint_id("canonical")) == parsed
    # What this release knows itself is not replaced.
    assert known.schema(fingerprint_id(definition(L2Update).canonical)) == definition(L2Update).parsed


@pytest.mark.parametrize(
    ("record", "key"),
    [
        ("Trade", b"kraken|BTC-USD"),
        ("L2Update", b"kraken|BTC-USD"),
        ("Quote", b"alpaca|AAPL"),
        ("Depth", b"BTC-USD"),
        ("Candle", b"kraken|BTC-USD"),
        ("DeltaStatistics", b"kraken|BTC-USD"),
        ("ArbitrageOpportunity", b"BTC-USD"),
        ("Event", b"collector-kraken"),
        ("DeadLetter", b"wss://ws.kraken.com/v2"),
    ],
)
def test_keys(record: str, key: bytes) -> None:
    (sample,) = (sample for sample in FULL if type(sample).__name__ == record)
    assert key_of(sample) == key
