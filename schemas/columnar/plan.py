"""Plan of reading one writer's schema into the columns of a record class of this release.

A field that the writer has and this release has not is read and dropped; one that only this release has gets its
default. What needs more resolution than that (a changed type, an alias) and types that have no columns here (maps) have
no plan; their records are decoded one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from alphapulse.fixed import EXPONENT_LIMIT
from schemas.columnar.wire import Bodies, Booleans, Integers, Irregular, Lists, Texts, within
from schemas.validity import SIDES


@dataclass(frozen=True, slots=True)
class Codes:
    """Symbols of an enum: their numbers in ``symbols``."""

    codes: Integers
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Options:
    """Values that may be null: whether each is present, and the column of those that are."""

    present: Booleans
    values: Column


@dataclass(frozen=True, slots=True)
class Constant:
    """The same value for all records: a default."""

    value: Any


Column: TypeAlias = Integers | Booleans | npt.NDArray[np.float64] | Texts | Lists | Codes | Options | Constant
Reader: TypeAlias = Callable[[Bodies, Integers, Integers], tuple[Column, Integers]]

_LONGS: Final = "array of long"
_INT32: Final = (-(2**31), 2**31 - 1)
_EXPONENT: Final = (-EXPONENT_LIMIT, EXPONENT_LIMIT)


class _NoPlan(Exception):
    """A type that has no columns here."""


class Plan:
    """Reads the fields of a writer's schema, and checks them as :class:`schemas.validity.Validity` does.

    Use :func:`plan_of`.

    Args:
        steps: fields in the order of the writer's, with their reader; a reader of None stands for consecutive arrays.
        wanted: fields of this release in their order, with their default where the writer has no such field.
        bounds: field → lowest and highest value.
        sides: pairs of arrays of equal length.
    """

    def __init__(
        self,
        steps: Sequence[tuple[tuple[str, ...], Reader | None]],
        wanted: Mapping[str, Constant | None],
        bounds: Mapping[str, tuple[int, int]],
        sides: Sequence[tuple[str, str]],
    ) -> None:
        self._steps = steps
        self._wanted = wanted
        self._bounds = bounds
        self._sides = sides

    def read(self, bodies: Bodies, at: Integers, ends: Integers) -> dict[str, Column]:
        """Return the columns of all records, each from its position in ``at`` to its end exactly.

        Raises:
            Irregular: a record does not fit the schema, has surplus bytes, or a value is out of its bounds.
        """
        found: dict[str, Column] = {}
        within(at, ends)
        for names, reader in self._steps:
            if reader is None:
                lists, at = bodies.lists(at, ends, len(names))
                found.update(zip(names, lists, strict=True))
            else:
                found[names[0]], at = reader(bodies, at, ends)
                within(at, ends)
        if (at != ends).any():
            raise Irregular
        columns = {name: found[name] if constant is None else constant for name, constant in self._wanted.items()}
        self._check(columns, len(ends))
        return columns

    def _check(self, columns: Mapping[str, Column], records: int) -> None:
        for name, (low, high) in self._bounds.items():
            column = columns[name]
            values = column.values if isinstance(column, Options) else column
            if isinstance(values, np.ndarray) and values.size and (values.min() < low or values.max() > high):
                raise Irregular
        for prices, sizes in self._sides:
            if (_counts(columns[prices], records) != _counts(columns[sizes], records)).any():
                raise Irregular


def _counts(column: Column, records: int) -> Integers:
    if isinstance(column, Lists):
        return column.counts
    return np.full(records, len(column.value) if isinstance(column, Constant) else 0, np.int64)


def plan_of(written: Mapping[str, Any], wanted: Mapping[str, Any]) -> Plan | None:
    """Return the plan for records of the schema ``written`` as records of ``wanted``; None if there is none.

    Args:
        written: the writer's schema as parsed by fastavro, a record of the same name.
        wanted: ours.
    """
    ours = {field["name"]: field for field in wanted["fields"]}
    if any("aliases" in part for part in (wanted, *ours.values())):
        return None
    steps: list[tuple[tuple[str, ...], Reader | None]] = []
    try:
        for field in written["fields"]:
            name = field["name"]
            target = ours[name]["type"] if name in ours else field["type"]
            reader = _reader(field["type"], target)
            if reader is None and steps and steps[-1][1] is None:
                steps[-1] = ((*steps[-1][0], name), None)
            else:
                steps.append(((name,), reader))
        theirs = {field["name"] for field in written["fields"]}
        defaults = {name: None if name in theirs else _default(field) for name, field in ours.items()}
    except _NoPlan:
        return None
    bounds = {name: bound for name, field in ours.items() if (bound := _bounds(name, field["type"]))}
    return Plan(steps, defaults, bounds, [pair for pair in SIDES if pair[0] in ours])


def _default(field: Mapping[str, Any]) -> Constant:
    if "default" not in field or field["type"] == "bytes":
        raise _NoPlan
    return Constant(field["default"])


def _bounds(name: str, kind: Any) -> tuple[int, int] | None:
    if name.endswith("exponent"):
        return _EXPONENT
    return _INT32 if kind == "int" or (isinstance(kind, list) and "int" in kind) else None


def _reader(written: Any, wanted: Any) -> Reader | None:
    """Return the reader of a field, None for an array of longs."""
    if isinstance(written, list):
        return _option(written, wanted)
    match written, wanted:
        case ("int", "int" | "long"):
            return lambda bodies, at, _: bodies.small(at)
        case ("long", "long"):
            return lambda bodies, at, _: bodies.integers(at)
        case ("boolean", "boolean"):
            return lambda bodies, at, _: bodies.flags(at)
        case ("double", "double"):
            return lambda bodies, at, _: bodies.doubles(at)
        case ("string", "string") | ("bytes", "bytes"):
            return lambda bodies, at, ends: bodies.texts(at, ends)
        case ({"type": "array", "items": "long"}, {"type": "array", "items": "long"}):
            return None
        case ({"type": "enum"}, {"type": "enum"}) if written["name"] == wanted["name"]:
            return _enum(tuple(written["symbols"]), tuple(wanted["symbols"]))
    raise _NoPlan


def _enum(written: tuple[str, ...], wanted: tuple[str, ...]) -> Reader:
    numbers = np.array([wanted.index(symbol) if symbol in wanted else -1 for symbol in written], np.int64)

    def read(bodies: Bodies, at: Integers, _: Integers) -> tuple[Column, Integers]:
        codes, at = bodies.small(at)
        if codes.size and (codes.min() < 0 or codes.max() >= len(numbers)):
            raise Irregular
        codes = numbers[codes]
        if codes.min(initial=0) < 0:
            raise Irregular  # unknown to this release
        return Codes(codes, wanted), at

    return read


def _option(written: list[Any], wanted: Any) -> Reader:
    if written != wanted or len(written) != 2 or "null" not in written:
        raise _NoPlan
    branch = 1 - written.index("null")
    inner = _reader(written[branch], written[branch])
    if inner is None:
        raise _NoPlan

    def read(bodies: Bodies, at: Integers, ends: Integers) -> tuple[Column, Integers]:
        branches, at = bodies.small(at)
        if branches.size and (branches.min() < 0 or branches.max() > 1):
            raise Irregular
        within(at, ends)
        present = branches == branch
        values, after = inner(bodies, at[present], ends[present])
        at[present] = after
        return Options(present, values), at

    return read
