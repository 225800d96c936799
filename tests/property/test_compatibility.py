"""What the compatibility check lets through, fastavro can read: any change of any schema, in both directions."""

from __future__ import annotations

import copy
from io import BytesIO
from typing import Any

import fastavro
import pytest
from fastavro.schema import SchemaParseException
from hypothesis import assume, given
from hypothesis import strategies as st

from schemas.compatibility import incompatibilities

Schema = dict[str, Any]

LETTERS = ["A", "B", "C", "D"]
NAMES = ["one", "two", "three", "four"]
PRIMITIVES = ["int", "long", "float", "double", "string", "bytes", "boolean"]

_VALUES: dict[str, Any] = {
    "null": None,
    "boolean": True,
    "int": 7,
    "long": 2**40,
    "float": 0.5,
    "double": 0.25,
    "string": "text",
    "bytes": b"octets",
}


@st.composite
def enums(draw: st.DrawFn) -> Schema:
    symbols = draw(st.lists(st.sampled_from(LETTERS), min_size=1, unique=True))
    default = {"default": draw(st.sampled_from(symbols))} if draw(st.booleans()) else {}
    return {"type": "enum", "name": "Choice", "symbols": symbols, **default}


types: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(PRIMITIVES),
    st.sampled_from(PRIMITIVES).map(lambda kind: ["null", kind]),
    st.sampled_from(PRIMITIVES).map(lambda kind: {"type": "array", "items": kind}),
    st.sampled_from(PRIMITIVES).map(lambda kind: {"type": "map", "values": kind}),
    enums(),
)


def value_of(kind: Any, pick: int) -> Any:
    if isinstance(kind, list):
        return value_of(kind[pick % len(kind)], pick)
    if isinstance(kind, str):
        return _VALUES[kind]
    if kind["type"] == "enum":
        return kind["symbols"][pick % len(kind["symbols"])]
    if kind["type"] == "array":
        return [value_of(kind["items"], pick)] * (pick % 3)
    return {"key": value_of(kind["values"], pick)}


def default_of(kind: Any) -> Any:
    kind = kind[0] if isinstance(kind, list) else kind
    if isinstance(kind, dict) and kind["type"] in ("array", "map"):
        return [] if kind["type"] == "array" else {}
    value = value_of(kind, 0)
    return value.decode() if isinstance(value, bytes) else value


@st.composite
def fields(draw: st.DrawFn, name: str) -> Schema:
    kind = draw(types)
    default = {"default": default_of(kind)} if draw(st.booleans()) else {}
    return {"name": name, "type": kind, **default}


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True))
    drawn = [draw(fields(name)) for name in names]
    assume(sum(isinstance(f["type"], dict) and f["type"]["type"] == "enum" for f in drawn) <= 1)
    return {"type": "record", "name": "R", "fields": drawn}


@st.composite
def successors(draw: st.DrawFn, old: Schema) -> Schema:
    """``old`` after one to three edits, most of them of the permitted kind."""
    new = copy.deepcopy(old)
    for _ in range(draw(st.integers(1, 3))):
        free = [name for name in NAMES if name not in {f["name"] for f in new["fields"]}]
        edit = draw(st.sampled_from(["add", "add", "retype", "reorder", "remove", "symbol"]))
        if edit == "add" and free:
            new["fields"].append(draw(fields(free[0])))
        elif edit == "retype" and new["fields"]:
            draw(st.sampled_from(new["fields"]))["type"] = draw(types)
        elif edit == "reorder":
            new["fields"] = draw(st.permutations(new["fields"]))
        elif edit == "remove" and new["fields"]:
            new["fields"].remove(draw(st.sampled_from(new["fields"])))
        elif edit == "symbol":
            for field in new["fields"]:
                if isinstance(field["type"], dict) and field["type"]["type"] == "enum":
                    field["type"] = draw(enums())
    return new


def parsed(schema: Schema) -> Any:
    try:
        return fastavro.parse_schema(copy.deepcopy(schema))
    except SchemaParseException:
        assume(False)  # two enums of one name, or a default that no longer fits: no schema at all


def reread(written: Any, value: Schema, reading: Any) -> Schema:
    out = BytesIO()
    fastavro.schemaless_writer(out, written, value)
    out.seek(0)
    result: Schema = fastavro.schemaless_reader(out, written, reading)  # type: ignore[assignment]
    return result


@given(st.data(), st.integers(0, 5))
def test_what_passes_can_be_read(data: st.DataObject, pick: int) -> None:
    old = data.draw(schemas())
    new = data.draw(successors(old))
    before, after = parsed(old), parsed(new)
    faults = incompatibilities({"r": old}, {"r": new})
    assume(not faults)
    value = {field["name"]: value_of(field["type"], pick) for field in old["fields"]}
    read = reread(before, value, after)
    assert set(read) == {field["name"] for field in new["fields"]}
    kinds = {field["name"]: field["type"] for field in old["fields"]}
    for field in new["fields"]:
        if field["name"] not in kinds:
            assert read[field["name"]] == field["default"]
        elif field["type"] == kinds[field["name"]]:
            assert read[field["name"]] == value[field["name"]]
    # And an old reader, while the release rolls out, reads what a new writer writes, promotions apart.
    if all(field["type"] == kinds.get(field["name"], field["type"]) or _is_enum(field) for field in new["fields"]):
        newer = {field["name"]: value_of(field["type"], pick) for field in new["fields"]}
        assert set(reread(after, newer, before)) == set(kinds)


def _is_enum(field: Schema) -> bool:
    return isinstance(field["type"], dict) and field["type"]["type"] == "enum"


@given(st.data())
def test_what_cannot_be_read_does_not_pass(data: st.DataObject) -> None:
    old = data.draw(schemas())
    new = data.draw(successors(old))
    before, after = parsed(old), parsed(new)
    for pick in range(4):
        value = {field["name"]: value_of(field["type"], pick) for field in old["fields"]}
        try:
            reread(before, value, after)
        except Exception:  # noqa: BLE001 fastavro has an error for each way in which this can go wrong
            assert incompatibilities({"r": old}, {"r": new}) != []
            return


@given(schemas())
def test_a_schema_follows_itself(schema: Schema) -> None:
    parsed(schema)
    assert incompatibilities({"r": schema}, {"r": schema}) == []


def test_the_oracle_can_refuse() -> None:
    old = {"type": "record", "name": "R", "fields": [{"name": "one", "type": "int"}]}
    new = {"type": "record", "name": "R", "fields": [{"name": "one", "type": "string"}]}
    with pytest.raises(Exception, match="mismatch"):
        reread(parsed(old), {"one": 1}, parsed(new))
