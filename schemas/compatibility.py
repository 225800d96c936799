"""Compatibility check of the schemas in this tree with those of earlier releases.

The rules are stricter than Avro's own BACKWARD_TRANSITIVE (which allows removed fields): a record keeps its name and
all its fields, new fields need a default, new enum symbols need a default symbol in the readers, and types change only
by Avro's promotions (https://avro.apache.org/docs/1.12.0/specification/#schema-resolution). So a new reader understands
every record ever written, and an old reader all but the promoted ones of a new writer, as happens during a rolling
release. No available library checks that: fastavro resolves data, not schemas, and the registries' checkers are behind
their REST API.

Releases are compared by the copies of their schemas in ``released/<version>/``, which every checkout has; shallow
clones and archives lack tags.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fastavro
from fastavro.schema import SchemaParseException
from fastavro.validation import validate

from alphapulse.errors import IncompatibleSchema, SchemaError

FOLDER = Path(__file__).resolve().parent / "avro"
RELEASED = FOLDER.parent / "released"
"""Folder of schemas per release, only in the source tree."""

_VERSION = re.compile(r"\d+(\.\d+)*")

_PROMOTIONS = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}


def check(against: str | None = None, *, folder: Path = FOLDER, released: Path = RELEASED) -> list[str]:
    """Check the schema files in ``folder`` against earlier ones; return a line for each version.

    Args:
        against: a folder of schema files or a git revision; None: every release.
        folder: the schema files to check.
        released: schema files of the releases, one folder per version.

    Raises:
        IncompatibleSchema: lists version, record, field and reason of every error.
        SchemaError: a file, folder or revision cannot be read, or there is no release to compare with.
    """
    current = read_folder(folder)
    if against is None:
        earlier = read_releases(released)
    elif Path(against).is_dir():
        earlier = {against: read_folder(Path(against))}
    else:
        earlier = {against: read_revision(against, folder)}
    faults = [
        f"{version}: {fault}" for version, schemas in earlier.items() for fault in incompatibilities(schemas, current)
    ]
    if faults:
        raise IncompatibleSchema("incompatible schemas:\n" + "\n".join(f"  - {fault}" for fault in faults))
    return [f"{version}: {len(schemas)} schemas, compatible" for version, schemas in earlier.items()]


def incompatibilities(earlier: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Return every incompatibility of ``current`` with ``earlier``; both are schemas (as JSON) by file name."""
    faults = []
    for name, written in earlier.items():
        if name in current:
            faults += _Comparison(written, current[name]).faults()
        else:
            faults.append(f"{name}: the schema was removed")
    return faults


class _Comparison:
    """Compares one schema with its successor."""

    def __init__(self, old: Any, new: Any) -> None:
        self._old, self._new = old, new
        self._old_names = _named_types(old)
        self._new_names = _named_types(new)
        self._found: list[str] = []
        self._visited: set[tuple[str, str]] = set()

    def faults(self) -> list[str]:
        self._compare(self._old, self._new, _full_name(self._old))
        return self._found

    def _refuse(self, place: str, reason: str) -> None:
        self._found.append(f"{place}: {reason}")

    def _compare(self, old: Any, new: Any, place: str) -> None:
        old, new = self._old_names.get(_key(old), old), self._new_names.get(_key(new), new)
        old_kind, new_kind = _kind(old), _kind(new)
        if old_kind != new_kind:
            if new_kind not in _PROMOTIONS.get(old_kind, ()):
                self._refuse(place, f"the type changed from {_shown(old)} to {_shown(new)}")
            return
        if _attribute(old, "logicalType") != _attribute(new, "logicalType"):
            self._refuse(place, f"the type changed from {_shown(old)} to {_shown(new)}")
        elif old_kind == "union":
            self._compare_unions(old, new, place)
        elif old_kind == "array":
            self._compare(old["items"], new["items"], f"{place}[]")
        elif old_kind == "map":
            self._compare(old["values"], new["values"], f"{place}{{}}")
        elif old_kind in ("record", "enum", "fixed"):
            self._compare_named(old, new, place)

    def _compare_named(self, old: dict[str, Any], new: dict[str, Any], place: str) -> None:
        names = _full_name(old), _full_name(new)
        if names in self._visited:  # a recursive type
            return
        self._visited.add(names)
        if names[0] != names[1]:
            self._refuse(place, f"renamed to {names[1]}" if names[0] == place else f"{names[0]} renamed to {names[1]}")
        if old["type"] == "record":
            self._compare_records(old, new, place)
        elif old["type"] == "enum":
            self._compare_enums(old, new, place)
        elif old["size"] != new["size"]:
            self._refuse(place, f"the size changed from {old['size']} to {new['size']}")

    def _compare_records(self, old: dict[str, Any], new: dict[str, Any], place: str) -> None:
        before = {field["name"]: field for field in old["fields"]}
        after = {field["name"]: field for field in new["fields"]}
        for name, field in before.items():
            if name not in after:
                self._refuse(f"{place}.{name}", "removed or renamed")
                continue
            self._compare(field["type"], after[name]["type"], f"{place}.{name}")
            if "default" in field and "default" not in after[name]:
                self._refuse(f"{place}.{name}", "its default was removed, but records written before the field need it")
        for name, field in after.items():
            if name in before:
                continue
            if "default" not in field:
                self._refuse(f"{place}.{name}", "added without a default, but records written before need one")
            elif (reason := self._default_fault(field)) is not None:
                self._refuse(f"{place}.{name}", f"its default {field['default']!r:.80} {reason}")

    def _default_fault(self, field: dict[str, Any]) -> str | None:
        kind = self._new_names.get(_key(field["type"]), field["type"])
        kind = kind[0] if isinstance(kind, list) else kind  # a union's default has the type of its first branch
        if _kind(kind) in ("bytes", "fixed"):
            return "has a type that fastavro reads as text: bytes need a union with null and the default null"
        if isinstance(kind, dict) and kind["type"] == "record":
            return "is a record, which is not supported: add its fields individually"
        parsed = fastavro.parse_schema(kind)
        return None if validate(field["default"], parsed, raise_errors=False) else f"is not of type {_branch(kind)}"

    def _compare_enums(self, old: dict[str, Any], new: dict[str, Any], place: str) -> None:
        for symbol in old["symbols"]:
            if symbol not in new["symbols"]:
                self._refuse(place, f"symbol {symbol} removed or renamed")
        added = [symbol for symbol in new["symbols"] if symbol not in old["symbols"]]
        if added and "default" not in old:
            self._refuse(place, f"symbol {added[0]} added, but its readers have no default for unknown symbols")
        if "default" in old and "default" not in new:
            self._refuse(place, "the default symbol was removed")

    def _compare_unions(self, old: list[Any], new: list[Any], place: str) -> None:
        remaining = {_branch(item): item for item in new}
        for item in old:
            name = _branch(item)
            successor = next((n for n in (name, *sorted(_PROMOTIONS.get(name, ()))) if n in remaining), None)
            if successor is None or len(old) != len(new):
                self._refuse(place, f"the type changed from {_shown(old)} to {_shown(new)}")
                return
            self._compare(item, remaining.pop(successor), place)


def _kind(schema: Any) -> str:
    if isinstance(schema, list):
        return "union"
    return str(schema["type"]) if isinstance(schema, dict) else str(schema)


def _key(schema: Any) -> str:
    return schema if isinstance(schema, str) else ""


def _attribute(schema: Any, name: str) -> Any:
    return schema.get(name) if isinstance(schema, dict) else None


def _full_name(schema: Any) -> str:
    name = str(schema["name"])
    return name if "." in name or not schema.get("namespace") else f"{schema['namespace']}.{name}"


def _branch(schema: Any) -> str:
    return _full_name(schema) if _kind(schema) in ("record", "enum", "fixed") else _kind(schema)


def _shown(schema: Any) -> str:
    return json.dumps(schema) if len(json.dumps(schema)) <= 80 else _branch(schema)


def _named_types(schema: Any) -> dict[str, Any]:
    """Return the named types that ``schema`` defines, by name."""
    found: dict[str, Any] = {}
    if isinstance(schema, list):
        for item in schema:
            found |= _named_types(item)
    elif isinstance(schema, dict):
        if schema["type"] in ("record", "enum", "fixed"):
            found[_full_name(schema)] = found[str(schema["name"])] = schema
        for inner in (schema.get("items"), schema.get("values"), *(f["type"] for f in schema.get("fields", ()))):
            found |= _named_types(inner)
    return found


def read_folder(folder: Path) -> dict[str, Any]:
    """Return the schemas in ``folder`` by file name.

    Raises:
        SchemaError: there is none, or one cannot be read.
    """
    schemas = {}
    for path in sorted(folder.glob("*.avsc")):
        try:
            schemas[path.name] = _parsed(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise SchemaError(f"{path}: {error}") from error
    if not schemas:
        raise SchemaError(f"{folder}: no schema files (*.avsc)")
    return schemas


def read_releases(released: Path) -> dict[str, dict[str, Any]]:
    """Return the schemas of every release in ``released`` by version, the oldest first.

    Raises:
        SchemaError: there is no release, a folder name is not a version, or a schema cannot be read.
    """
    try:
        folders = [entry for entry in released.iterdir() if entry.is_dir()]
    except OSError as error:
        raise SchemaError(
            f"{released}: no schemas of releases to compare with: {error.strerror} (only the source tree has them)"
        ) from error
    if not folders:
        raise SchemaError(f"{released}: no schemas of releases to compare with: the folder is empty")
    for entry in folders:
        if _VERSION.fullmatch(entry.name) is None:
            raise SchemaError(f"{entry}: the folder name is not a version such as 1.2.3")
    folders.sort(key=lambda entry: [int(part) for part in entry.name.split(".")])
    return {entry.name: read_folder(entry) for entry in folders}


def read_revision(revision: str, folder: Path) -> dict[str, Any]:
    """Return the schemas in ``folder`` at a git ``revision``, by file name; none if it did not exist then.

    Raises:
        SchemaError: git does not know the revision, or a schema cannot be read.
    """
    if revision.startswith("-"):
        raise SchemaError(f"{revision}: neither a folder nor a git revision")
    try:
        listed = _git(folder, "ls-tree", "--name-only", revision, "./")
    except SchemaError as error:
        raise SchemaError(f"{revision}: neither a folder nor a git revision: {error}") from error
    names = [name for name in listed.splitlines() if name.endswith(".avsc")]
    return {name: _parsed(_git(folder, "show", f"{revision}:./{name}"), f"{revision}:{name}") for name in names}


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=False)
    except OSError as error:
        raise SchemaError(f"cannot run git: {error.strerror}") from error
    if done.returncode:
        raise SchemaError(f"git {arguments[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode()


def _parsed(text: str, place: str) -> Any:
    try:
        schema = json.loads(text)
        fastavro.parse_schema(schema)
    except (ValueError, KeyError, TypeError, SchemaParseException) as error:
        raise SchemaError(f"{place}: not an Avro schema: {error!r}") from error
    return schema
