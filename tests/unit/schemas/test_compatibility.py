"""What a schema may become, and what not."""

from __future__ import annotations

import copy
import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from alphapulse.errors import IncompatibleSchema, SchemaError
from schemas.compatibility import FOLDER, RELEASED, check, incompatibilities, read_folder, read_releases

BASE: dict[str, Any] = {
    "type": "record",
    "name": "R",
    "namespace": "n",
    "fields": [
        {"name": "number", "type": "int"},
        {"name": "text", "type": "string", "default": "none"},
        {"name": "side", "type": {"type": "enum", "name": "Side", "symbols": ["A", "B"], "default": "A"}},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["X", "Y"]}},
        {"name": "optional", "type": ["null", "int"], "default": None},
        {"name": "many", "type": {"type": "array", "items": "int"}},
        {"name": "named", "type": {"type": "map", "values": "float"}},
        {"name": "again", "type": "Side"},
        {"name": "inner", "type": {"type": "record", "name": "Inner", "fields": [{"name": "x", "type": "long"}]}},
        {"name": "hash", "type": {"type": "fixed", "name": "Hash", "size": 16}},
        {"name": "next", "type": ["null", "R"], "default": None},
    ],
}


def field(schema: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in schema["fields"] if item["name"] == name)
    return found


def changed(**types: Any) -> dict[str, Any]:
    schema = copy.deepcopy(BASE)
    for name, kind in types.items():
        field(schema, name)["type"] = kind
    return schema


def with_added(**added: Any) -> dict[str, Any]:
    schema = copy.deepcopy(BASE)
    schema["fields"].append(added)
    return schema


def faults(new: dict[str, Any], old: dict[str, Any] = BASE) -> list[str]:
    return incompatibilities({"r.avsc": old}, {"r.avsc": new})


@pytest.mark.parametrize(
    "new",
    [
        BASE,
        {**BASE, "doc": "words"},
        {**BASE, "fields": BASE["fields"][::-1]},
        with_added(name="new", type="long", default=0),
        with_added(name="new", type=["null", "bytes"], default=None),
        with_added(name="new", type={"type": "map", "values": "string"}, default={}),
        with_added(name="new", type={"type": "array", "items": "long"}, default=[]),
        with_added(name="new", type={"type": "enum", "name": "New", "symbols": ["P"]}, default="P"),
        with_added(name="new", type="Side", default="B"),
        changed(number="long"),
        changed(number="double"),
        changed(text="bytes"),
        changed(optional=["null", "long"]),
        changed(optional=["int", "null"]),
        changed(many={"type": "array", "items": "long"}),
        changed(named={"type": "map", "values": "double"}),
        changed(side={"type": "enum", "name": "Side", "symbols": ["B", "A", "C"], "default": "A"}),
        changed(kind={"type": "enum", "name": "Kind", "symbols": ["X", "Y"], "default": "Y"}),
    ],
)
def test_what_may_change(new: dict[str, Any]) -> None:
    assert faults(new) == []


@pytest.mark.parametrize(
    ("new", "fault"),
    [
        ({**BASE, "fields": BASE["fields"][1:]}, "n.R.number: removed or renamed"),
        (
            with_added(name="new", type="long"),
            "n.R.new: added without a default, but records written before need one",
        ),
        (with_added(name="new", type="long", default="0"), "n.R.new: its default '0' is not of type long"),
        (with_added(name="new", type=["long", "null"], default=None), "n.R.new: its default None is not of type long"),
        (
            with_added(name="new", type="bytes", default=""),
            (
                "n.R.new: its default '' has a type that fastavro reads as text: bytes need a union with null and the "
                "default null"
            ),
        ),
        (
            with_added(name="new", type={"type": "record", "name": "New", "fields": []}, default={}),
            "n.R.new: its default {} is a record, which is not supported: add its fields individually",
        ),
        (changed(number="string"), 'n.R.number: the type changed from "int" to "string"'),
        (changed(named={"type": "map", "values": "int"}), 'n.R.named{}: the type changed from "float" to "int"'),
        (changed(many={"type": "array", "items": "string"}), 'n.R.many[]: the type changed from "int" to "string"'),
        (
            changed(optional=["null", "int", "string"]),
            'n.R.optional: the type changed from ["null", "int"] to ["null", "int", "string"]',
        ),
        (changed(optional="int"), 'n.R.optional: the type changed from ["null", "int"] to "int"'),
        (
            changed(number={"type": "int", "logicalType": "date"}),
            'n.R.number: the type changed from "int" to {"type": "int", "logicalType": "date"}',
        ),
        (
            changed(side={"type": "enum", "name": "Side", "symbols": ["A"], "default": "A"}),
            "n.R.side: symbol B removed or renamed",
        ),
        (
            changed(side={"type": "enum", "name": "Side", "symbols": ["A", "B"]}),
            "n.R.side: the default symbol was removed",
        ),
        (
            changed(kind={"type": "enum", "name": "Kind", "symbols": ["X", "Y", "Z"], "default": "X"}),
            "n.R.kind: symbol Z added, but its readers have no default for unknown symbols",
        ),
        (
            changed(kind={"type": "enum", "name": "Sort", "symbols": ["X", "Y"]}),
            "n.R.kind: Kind renamed to Sort",
        ),
        (
            changed(inner={"type": "record", "name": "Inner", "fields": [{"name": "y", "type": "long", "default": 0}]}),
            "n.R.inner.x: removed or renamed",
        ),
        (changed(hash={"type": "fixed", "name": "Hash", "size": 32}), "n.R.hash: the size changed from 16 to 32"),
    ],
)
def test_what_may_not_change(new: dict[str, Any], fault: str) -> None:
    assert faults(new) == [fault]


@pytest.mark.parametrize("renamed", [{"name": "Q"}, {"namespace": "m"}])
def test_a_record_keeps_its_name(renamed: dict[str, str]) -> None:
    old = {"type": "record", "name": "R", "namespace": "n", "fields": []}
    new = {**old, **renamed}
    assert faults(new, old) == [f"n.R: renamed to {new['namespace']}.{new['name']}"]


def test_a_default_may_not_be_taken_away() -> None:
    new = copy.deepcopy(BASE)
    del field(new, "text")["default"]
    assert faults(new) == ["n.R.text: its default was removed, but records written before the field need it"]


def test_a_long_type_is_told_by_its_name() -> None:
    symbols = [f"SYMBOL_{n}" for n in range(20)]
    new = changed(number={"type": "enum", "name": "Long", "symbols": symbols})
    assert faults(new) == ['n.R.number: the type changed from "int" to Long']


def test_every_fault_is_told() -> None:
    new = {**BASE, "fields": [{"name": "number", "type": "string"}, {"name": "new", "type": "long"}]}
    assert len(faults(new)) == len(BASE["fields"]) + 1


def test_a_schema_may_come_but_not_go() -> None:
    assert incompatibilities({"a.avsc": BASE}, {"a.avsc": BASE, "b.avsc": BASE}) == []
    assert incompatibilities({"a.avsc": BASE}, {"b.avsc": BASE}) == ["a.avsc: the schema was removed"]


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository with a folder of schemas."""
    folder = tmp_path / "repository" / "schemas" / "avro"
    folder.mkdir(parents=True)
    git(folder, "init", str(tmp_path / "repository"))
    (folder / "r.avsc").write_text(json.dumps(BASE))
    (folder / "notes.txt").write_text("no schema")
    return folder


def commit(folder: Path, tag: str, schema: dict[str, Any]) -> None:
    (folder / "r.avsc").write_text(json.dumps(schema))
    git(folder, "add", ".")
    git(folder, "commit", "--allow-empty", "-m", tag)
    git(folder, "tag", tag)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree's folder of schemas, beside which a test may put releases; no repository."""
    folder = tmp_path / "schemas" / "avro"
    folder.mkdir(parents=True)
    (folder / "r.avsc").write_text(json.dumps(BASE))
    return folder


def release(tree: Path, version: str, schema: dict[str, Any]) -> Path:
    """Put ``schema`` among the releases beside ``tree``; return the folder of all releases."""
    folder = tree.parent / "released" / version
    folder.mkdir(parents=True)
    (folder / "r.avsc").write_text(json.dumps(schema))
    return folder.parent


def test_an_incompatible_change_is_refused(tree: Path) -> None:
    released = release(tree, "0.1.0", BASE)
    assert check(folder=tree, released=released) == ["0.1.0: 1 schemas, compatible"]
    (tree / "r.avsc").write_text(json.dumps(changed(number="string")))
    with pytest.raises(IncompatibleSchema) as caught:
        check(folder=tree, released=released)
    assert str(caught.value).splitlines() == [
        "incompatible schemas:",
        '  - 0.1.0: n.R.number: the type changed from "int" to "string"',
    ]


def test_all_releases_are_checked_not_only_the_last(tree: Path) -> None:
    """That is what TRANSITIVE means: 2.0 gave a new field a default, 10.0 kept one, 1.0's records lack the field."""
    release(tree, "1.0", BASE)
    release(tree, "2.0", with_added(name="new", type="long", default=0))
    released = release(tree, "10.0", with_added(name="new", type="long", default=5))
    (tree / "r.avsc").write_text(json.dumps(with_added(name="new", type="long", default=5)))
    assert check(folder=tree, released=released) == [
        f"{version}: 1 schemas, compatible" for version in ("1.0", "2.0", "10.0")
    ]
    (tree / "r.avsc").write_text(json.dumps(with_added(name="new", type="long")))
    with pytest.raises(IncompatibleSchema) as caught:
        check(folder=tree, released=released)
    assert str(caught.value).splitlines() == [
        "incompatible schemas:",
        "  - 1.0: n.R.new: added without a default, but records written before need one",
        "  - 2.0: n.R.new: its default was removed, but records written before the field need it",
        "  - 10.0: n.R.new: its default was removed, but records written before the field need it",
    ]


def test_without_releases_the_check_fails(tree: Path) -> None:
    released = tree.parent / "released"
    with pytest.raises(SchemaError, match=r"released: no schemas of releases to compare with: No such file"):
        check(folder=tree, released=released)
    released.mkdir()
    (released / "SHA256SUMS").touch()
    with pytest.raises(SchemaError, match=r"released: no schemas of releases to compare with: the folder is empty"):
        check(folder=tree, released=released)
    (released / "0.1.0").mkdir()
    with pytest.raises(SchemaError, match=r"0\.1\.0: no schema files"):
        check(folder=tree, released=released)
    (released / "0.1.0").rename(released / "latest")
    with pytest.raises(SchemaError, match=r"latest: the folder name is not a version"):
        check(folder=tree, released=released)


def test_a_release_that_cannot_be_read(tree: Path) -> None:
    released = release(tree, "0.1.0", BASE)
    (released / "0.1.0" / "r.avsc").write_text("{")
    with pytest.raises(SchemaError, match=r"0\.1\.0/r\.avsc: not an Avro schema"):
        check(folder=tree, released=released)


def test_a_revision_or_a_folder_may_be_named(folder: Path, tmp_path: Path) -> None:
    commit(folder, "x1", BASE)
    assert check("HEAD", folder=folder) == ["HEAD: 1 schemas, compatible"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "r.avsc").write_text(json.dumps(changed(number="string")))
    with pytest.raises(IncompatibleSchema, match=f"{other}: n.R.number: the type changed"):
        check(str(other), folder=folder)


def test_a_revision_before_the_folder_was_made(folder: Path) -> None:
    (folder / "r.avsc").rename(folder.parent / "elsewhere")
    git(folder, "add", str(folder.parent / "elsewhere"))
    git(folder, "commit", "-m", "first")
    git(folder, "tag", "v0")
    (folder.parent / "elsewhere").rename(folder / "r.avsc")
    assert check("v0", folder=folder) == ["v0: 0 schemas, compatible"]


@pytest.mark.parametrize("against", ["nonsense", "--output=x", "HEAD"])
def test_what_is_neither_revision_nor_folder(folder: Path, against: str) -> None:
    with pytest.raises(SchemaError, match=f"^{against}: neither a folder nor a git revision"):
        check(against, folder=folder)


def test_what_cannot_be_read(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SchemaError, match=r"no schema files \(\*\.avsc\)"):
        check(folder=empty)
    (empty / "r.avsc").write_text(json.dumps(BASE))
    with pytest.raises(SchemaError, match=r"^HEAD: neither a folder nor a git revision: .*not a git repository"):
        check("HEAD", folder=empty)
    (folder / "r.avsc").write_text('{"type": "nothing"}')
    with pytest.raises(SchemaError, match=r"r\.avsc: not an Avro schema"):
        check(folder=folder)
    (folder / "r.avsc").write_bytes(b"\xff")
    with pytest.raises(SchemaError, match=r"r\.avsc: 'utf-8'"):
        check(folder=folder)
    (folder / "r.avsc").write_text(json.dumps(BASE))
    monkeypatch.setenv("PATH", str(empty))
    with pytest.raises(SchemaError, match=r"^HEAD: .*: cannot run git: No such file"):
        check("HEAD", folder=folder)


def test_a_revision_that_cannot_be_read(folder: Path) -> None:
    (folder / "r.avsc").write_text("{")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "broken")
    git(folder, "tag", "v1")
    (folder / "r.avsc").write_text(json.dumps(BASE))
    with pytest.raises(SchemaError, match=r"^v1:r\.avsc: not an Avro schema"):
        check("v1", folder=folder)


def test_our_own_schemas_follow_themselves() -> None:
    current = read_folder(FOLDER)
    assert len(current) == 9
    assert incompatibilities(current, current) == []
    assert check(str(FOLDER)) == [f"{FOLDER}: 9 schemas, compatible"]


def test_released_schemas_stay_as_they_were() -> None:
    """A release's schemas are what its records were written with: their digests were noted with the release."""
    noted = (RELEASED / "SHA256SUMS").read_text(encoding="ascii").splitlines()
    there = {
        f"{path.parent.name}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in RELEASED.glob("*/*")
    }
    assert {name: digest for digest, name in (line.split("  ") for line in noted)} == there
    assert len(noted) == len(there) >= 9


def test_our_own_schemas_follow_every_release() -> None:
    releases = read_releases(RELEASED)
    assert next(iter(releases)) == "0.1.0"
    assert check() == [f"{version}: {len(schemas)} schemas, compatible" for version, schemas in releases.items()]
