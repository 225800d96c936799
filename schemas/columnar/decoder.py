"""Values of a topic to Arrow columns, without a Python object per record."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from alphapulse.errors import RecordRefused
from schemas.codec import Codec
from schemas.columnar.arrow import array
from schemas.columnar.plan import Plan, plan_of
from schemas.columnar.wire import MAX_BYTES, PADDING, Bodies, Integers, Irregular
from schemas.definitions import definition
from schemas.records import Record

_HEAD_BYTES: Final = 5
_SCHEMA_ID = struct.Struct(">I")


class ColumnDecoder:
    """Decodes values of one record class; writers' schemas are resolved to this release's.

    Args:
        codec: knows the writers' schemas.
        kind: record class.
        schema: one Arrow field for each of the record's fields, in any order, named like it, of a type that the sinks'
            columns have; further fields are ignored.
    """

    def __init__(self, codec: Codec, kind: type[Record], schema: pa.Schema) -> None:
        self._codec = codec
        self._wanted = definition(kind).parsed
        self._types = [(field["name"], schema.field(field["name"]).type) for field in self._wanted["fields"]]
        self._plans: dict[int, Plan | None] = {}

    def decode(self, values: Sequence[bytes]) -> list[pa.Array[Any]] | None:
        """Return the columns of ``values``, one row each, in the order of the record's fields.

        None if any of them has a fault, or is encoded in a way that only :class:`schemas.codec.Codec` reads: then all
        have to be decoded by it, record by record. What is returned equals what the codec would have made.

        Raises:
            SchemaError: the schema registry cannot be reached.
        """
        records = len(values)
        sizes = np.fromiter(map(len, values), np.int64, records)
        if not records or sizes.min() < _HEAD_BYTES or sizes.sum() > MAX_BYTES:
            return None
        bodies = Bodies(b"".join([*values, PADDING]))
        ends = np.cumsum(sizes)
        starts = ends - sizes
        heads = bodies.heads(starts)
        try:
            if (heads == heads[0]).all():
                return self._columns(bodies, int(heads[0]), starts, ends)
            return self._of_several_schemas(bodies, heads, starts, ends)
        except Irregular:
            return None

    def _of_several_schemas(self, bodies: Bodies, heads: Any, starts: Integers, ends: Integers) -> list[pa.Array[Any]]:
        parts: list[list[pa.Array[Any]]] = []
        order: list[Integers] = []
        for head in np.unique(heads):
            mine = np.flatnonzero(heads == head)
            parts.append(self._columns(bodies, int(head), starts[mine], ends[mine]))
            order.append(mine)
        back = pa.array(np.argsort(np.concatenate(order)))
        return [pa.concat_arrays(column).take(back) for column in zip(*parts, strict=True)]

    def _columns(self, bodies: Bodies, head: int, starts: Integers, ends: Integers) -> list[pa.Array[Any]]:
        magic, *schema_id = head.to_bytes(_HEAD_BYTES, "little")
        plan = self._plan(_SCHEMA_ID.unpack(bytes(schema_id))[0]) if not magic else None
        if plan is None:
            raise Irregular
        found = plan.read(bodies, starts + _HEAD_BYTES, ends)
        data = pa.py_buffer(bodies.data)
        return [array(found[name], wanted, data, len(ends)) for name, wanted in self._types]

    def _plan(self, schema_id: int) -> Plan | None:
        if schema_id not in self._plans:
            try:
                written = self._codec.written(schema_id)
            except RecordRefused:
                return None  # the codec says the same of each of its records
            if written is None:
                return None  # the registry may know it later
            ours = isinstance(written, dict) and written.get("type") == "record"
            ours = ours and written["name"] == self._wanted["name"]
            self._plans[schema_id] = plan_of(written, self._wanted) if ours else None
        return self._plans[schema_id]
