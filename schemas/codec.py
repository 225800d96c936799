"""Codec for the Confluent wire format: ``0x00``, 4-byte schema id (big endian), Avro body."""

from __future__ import annotations

import copy
import struct
from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Any, TypeVar

from fastavro import schemaless_reader, schemaless_writer
from fastavro.schema import to_parsing_canonical_form

from alphapulse.errors import RecordRefused
from alphapulse.shown import shown
from schemas.definitions import Definition, definition, definitions
from schemas.depth_reader import HEAD_BYTES, UNREADABLE, DepthReader
from schemas.lazy_levels import read_levels
from schemas.records import Depth, Record
from schemas.registry import LocalRegistry, SchemaRegistry
from schemas.validity import Validity

_HEADER = struct.Struct(">bI")
_MAGIC = 0

R = TypeVar("R", bound=Record)


class Codec:
    """Encodes and decodes all records of :mod:`schemas.records`.

    Args:
        registry: assigns and resolves schema ids; the local one by default. Ids of our own schemas are requested once
            each, at first use (or all at once by :meth:`prepare`); an unknown id on a topic is requested again until
            the registry knows it.
    """

    def __init__(self, registry: SchemaRegistry | None = None) -> None:
        self._registry: SchemaRegistry = registry if registry is not None else LocalRegistry()
        self._writers: dict[type[Record], tuple[bytes, dict[str, Any], Validity]] = {}
        self._readers: dict[int, Callable[[BytesIO], Record]] = {}
        # By the head of the wire format; None: of another schema.
        self._depth_readers: dict[bytes, DepthReader | None] = {}
        self._by_name = {d.parsed["name"]: d for d in definitions()}

    def prepare(self) -> None:
        """Request the ids of all our schemas now, so that an unavailable registry stops the start, not the work.

        Raises:
            SchemaError: the registry cannot be reached or refuses a schema.
        """
        for found in definitions():
            self._writers[found.record] = self._writer(found.record)

    def encode(self, record: Record) -> bytes:
        """Return the wire bytes of ``record``.

        Raises:
            RecordRefused: a field does not fit the schema; the message names it.
            SchemaError: the registry refused the schema (first use of a record class only).
        """
        kind = type(record)
        writer = self._writers.get(kind)
        if writer is None:
            writer = self._writers[kind] = self._writer(kind)
        head, schema, validity = writer
        values = record.__dict__
        out = BytesIO()
        out.write(head)
        try:
            if validity.exact(values):
                schemaless_writer(out, schema, values)
                return out.getvalue()
            cause: Exception | None = None
        except (ValueError, TypeError, OverflowError, KeyError, AttributeError) as error:
            if read_levels(record):
                return self.encode(record)
            cause = error
        reason = validity.fault(values)
        raise RecordRefused(f"{kind.__name__} does not fit its schema: {reason} in {shown(values, 300)}") from cause

    def decode(self, value: bytes) -> Record:
        """Decode ``value``, resolved to this release's schema (fields added later get their default).

        Raises:
            RecordRefused: not in the wire format, an unknown schema id or a body that does not fit the schema.
            SchemaError: the registry cannot be reached.
        """
        if len(value) < _HEADER.size or value[0] != _MAGIC:
            raise RecordRefused(f"not in the Confluent wire format: {value[:16]!r} ({len(value)} bytes)")
        schema_id: int = _HEADER.unpack_from(value)[1]
        reader = self._readers.get(schema_id)
        if reader is None:
            reader = self._readers[schema_id] = self._reader(schema_id)
        body = BytesIO(value)
        body.seek(_HEADER.size)
        try:
            record = reader(body)
        except UNREADABLE as error:
            raise RecordRefused(f"body does not fit schema {schema_id}: {error!r} ({len(value)} bytes)") from error
        if body.tell() != len(value):
            raise RecordRefused(f"{len(value) - body.tell()} surplus bytes after the record of schema {schema_id}")
        return record

    def decode_as(self, kind: type[R], value: bytes) -> R:
        """Decode ``value``, which must be a ``kind``.

        Raises:
            RecordRefused: as :meth:`decode`, or the record is of another class.
        """
        record = self.decode(value)
        if not isinstance(record, kind):
            raise RecordRefused(f"expected {kind.__name__}, found {type(record).__name__}")
        return record

    def decode_depth(self, value: bytes) -> Depth:
        """Decode ``value``, a Depth, whose levels are decoded at their first use; it is checked as a whole now.

        Raises:
            RecordRefused: as :meth:`decode_as`.
        """
        head = value[:HEAD_BYTES]
        reader = self._depth_readers.get(head)
        if reader is None and head not in self._depth_readers:
            record = self.decode_as(Depth, value)  # first: who gets past it has a schema that is known
            written = self.written(_HEADER.unpack(head)[1])
            self._depth_readers[head] = _depth_reader_of(written)
            return record
        found = reader.read(value) if reader is not None else None
        return found if found is not None else self.decode_as(Depth, value)

    def decoder(self, kind: type[Record]) -> Callable[[bytes], Record]:
        """Return what decodes records of a class: :meth:`decode_as` with ``kind``, for Depth :meth:`decode_depth`."""
        return self.decode_depth if kind is Depth else partial(self.decode_as, kind)

    def written(self, schema_id: int) -> dict[str, Any] | None:
        """Return the writer's schema of an id, as parsed; None if the registry does not know it (yet).

        Raises:
            RecordRefused: the registry has something else than an Avro schema under it.
            SchemaError: the registry cannot be reached.
        """
        return self._registry.schema(schema_id)

    def _writer(self, kind: type[Record]) -> tuple[bytes, dict[str, Any], Validity]:
        found = definition(kind)
        return _HEADER.pack(_MAGIC, self._registry.register(found)), found.parsed, Validity(found.parsed)

    def _reader(self, schema_id: int) -> Callable[[BytesIO], Record]:
        written = self._registry.schema(schema_id)
        if written is None:
            raise RecordRefused(f"schema {schema_id} is not known to the registry")
        name = written["name"] if isinstance(written, dict) and written.get("type") == "record" else str(written)[:80]
        target = self._by_name.get(name)
        if target is None:
            raise RecordRefused(f"schema {schema_id} is {name}, which is not one of our records")
        return _reader_of(written, target)


def _reader_of(written: dict[str, Any], target: Definition) -> Callable[[BytesIO], Record]:
    kind = target.record
    new = object.__new__
    sound = Validity(target.parsed).sound
    fault = Validity(target.parsed).fault
    # Resolution costs time; if bytes and names are those of this release there is nothing to resolve.
    same = to_parsing_canonical_form(written) == target.canonical
    wanted = None if same else target.parsed
    written = _with_checked_symbols(written)

    def read(body: BytesIO) -> Record:
        values: dict[str, Any] = schemaless_reader(body, written, wanted)  # type: ignore[assignment]
        if not sound(values):
            raise ValueError(fault(values))
        record = new(kind)
        # The decoded dict becomes the instance's own: no copy, no __init__.
        record.__dict__ = values
        return record

    def read_older(body: BytesIO) -> Record:
        record = read(body)
        # fastavro returns the schema's own default: a map or list that all records would share.
        for name, value in record.__dict__.items():
            if isinstance(value, (dict, list)):
                record.__dict__[name] = value.copy()
        return record

    return read if same else read_older


def _depth_reader_of(written: dict[str, Any] | None) -> DepthReader | None:
    """Return the reader of Depth records written with a schema; None: it is not this release's."""
    target = definition(Depth)
    if written is None or to_parsing_canonical_form(written) != target.canonical:
        return None
    return DepthReader(target.parsed)


def _with_checked_symbols(schema: Any) -> Any:
    """Return a copy of a parsed schema whose enums hold their symbols by index in a dict.

    fastavro uses the index from the bytes in a list unchecked, where -1 is the last symbol; a dict has no such entry
    and raises. (A union's branches must stay a list; a negative index there can only select another of the field's own
    branches, so the record stays valid.)
    """
    schema = copy.copy(schema)
    if isinstance(schema, list):
        return [_with_checked_symbols(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "enum":
        schema["symbols"] = dict(enumerate(schema["symbols"]))
    if "fields" in schema:
        schema["fields"] = [{**field, "type": _with_checked_symbols(field["type"])} for field in schema["fields"]]
    for part in ("items", "values"):
        if part in schema:
            schema[part] = _with_checked_symbols(schema[part])
    return schema
