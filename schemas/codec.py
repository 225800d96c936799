"""Records to bytes and back in the Confluent wire format: ``0x00``, 4-byte schema id (big endian), Avro body."""

from __future__ import annotations

import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any, TypeVar

from fastavro import schemaless_reader, schemaless_writer

from alphapulse.errors import RecordRefused
from schemas.definitions import Definition, definition, definitions
from schemas.records import Record
from schemas.registry import LocalRegistry, SchemaRegistry

_HEADER = struct.Struct(">bI")
_MAGIC = 0

R = TypeVar("R", bound=Record)


class Codec:
    """Encodes and decodes all records of :mod:`schemas.records`.

    Args:
        registry: gives and resolves schema ids; the local one by default. Ids of our own schemas are asked for
            once each, at first use; an unknown id seen on a topic is asked for once.
    """

    def __init__(self, registry: SchemaRegistry | None = None) -> None:
        self._registry: SchemaRegistry = registry if registry is not None else LocalRegistry()
        self._writers: dict[type[Record], tuple[bytes, dict[str, Any]]] = {}
        self._readers: dict[int, Callable[[BytesIO], Record]] = {}
        self._by_name = {d.parsed["name"]: d for d in definitions()}

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
        out = BytesIO()
        out.write(writer[0])
        try:
            schemaless_writer(out, writer[1], record.__dict__)
        except (ValueError, TypeError, OverflowError, KeyError, AttributeError) as error:
            raise RecordRefused(f"{kind.__name__} does not fit its schema: {error} in {record!r:.300}") from error
        return out.getvalue()

    def decode(self, value: bytes) -> Record:
        """Return the record in ``value``, resolved to this release's schema (fields added later get their default).

        Raises:
            RecordRefused: no wire format, an unknown schema id or a body that does not fit the schema.
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
        except (
            ValueError,
            TypeError,
            EOFError,
            IndexError,
            KeyError,
            OverflowError,
            UnicodeDecodeError,
        ) as error:
            raise RecordRefused(f"body does not fit schema {schema_id}: {error!r} ({len(value)} bytes)") from error
        if body.tell() != len(value):
            raise RecordRefused(f"{len(value) - body.tell()} bytes too many behind schema {schema_id}'s record")
        return record

    def decode_as(self, kind: type[R], value: bytes) -> R:
        """Return the record in ``value``, which must be a ``kind``.

        Raises:
            RecordRefused: as :meth:`decode`, or the record is of another class.
        """
        record = self.decode(value)
        if not isinstance(record, kind):
            raise RecordRefused(f"expected {kind.__name__}, found {type(record).__name__}")
        return record

    def _writer(self, kind: type[Record]) -> tuple[bytes, dict[str, Any]]:
        found = definition(kind)
        return _HEADER.pack(_MAGIC, self._registry.register(found)), found.parsed

    def _reader(self, schema_id: int) -> Callable[[BytesIO], Record]:
        written = self._registry.schema(schema_id)
        if written is None:
            raise RecordRefused(f"schema {schema_id} is unknown to the registry")
        target = self._by_name.get(written["name"])
        if target is None:
            raise RecordRefused(f"schema {schema_id} is {written['name']}, no record of ours")
        return _reader_of(written, target)


def _reader_of(written: dict[str, Any], target: Definition) -> Callable[[BytesIO], Record]:
    kind = target.record
    # Resolution costs time; with the schema of this very release there is nothing to resolve.
    wanted = None if written == target.parsed else target.parsed
    new = object.__new__

    def read(body: BytesIO) -> Record:
        record = new(kind)
        # The decoded dict becomes the instance's own: no copy, no __init__.
        record.__dict__ = schemaless_reader(body, written, wanted)  # type: ignore[assignment]
        return record

    return read
