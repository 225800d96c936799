"""Record validation beyond fastavro's checks.

fastavro silently truncates a float to an integer, accepts any object as a boolean and writes an ``int`` of more than 32
bits. A price of 1.5 that becomes 1 is the worst possible error here, hence these checks on every record. They are
built once per record class as one expression over its fields, as dataclasses builds its methods: a loop over the
fields would take a third of the encoding time, this takes a tenth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastavro.validation import validate

from alphapulse.fixed import EXPONENT_LIMIT
from alphapulse.shown import shown

Values = Mapping[str, Any]

SIDES = (("bid_prices", "bid_sizes"), ("ask_prices", "ask_sizes"))
"""Arrays that must have equal lengths: the prices and sizes of a side."""
_INTEGERS = ("int", "long")
_ONLY_INTEGERS = {int}
_INT32_MIN = -(2**31)
_INT32_MAX = 2**31 - 1


class Validity:
    """Validation of one record class.

    Args:
        schema: its schema, as fastavro parsed it.

    Attributes:
        sound: returns whether exponents are within :data:`EXPONENT_LIMIT`, 32-bit integers within 32 bits, and each
            side has as many prices as sizes; for decoded values.
        exact: the same, and whether integers are integers and booleans booleans; for values to encode.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self._types: dict[str, Any] = {field["name"]: field["type"] for field in schema["fields"]}
        self._sides = [pair for pair in SIDES if pair[0] in self._types]
        sound = [term for name, kind in self._types.items() for term in _range_terms(name, kind)]
        sound += [f"len(v[{prices!r}]) == len(v[{sizes!r}])" for prices, sizes in self._sides]
        self.sound = _predicate(sound)
        self.exact = _predicate([*_type_terms(self._types), *sound])

    def fault(self, values: Values) -> str:
        """Return the invalid field and the reason, for a refused record (slow; not for the common path)."""
        for name, expected in self._types.items():
            if name not in values:
                return f"{name}: missing"
            value = values[name]
            found = _type_fault(value, expected)
            if found is None and name.endswith("exponent") and not -EXPONENT_LIMIT <= value <= EXPONENT_LIMIT:
                found = f"beyond ±{EXPONENT_LIMIT}"
            if found is not None:
                return f"{name}: {found}, found {shown(value)}"
        for prices, sizes in self._sides:
            if len(values[prices]) != len(values[sizes]):
                return f"{prices}, {sizes}: {len(values[prices])} prices but {len(values[sizes])} sizes"
        return "no single field"


def _predicate(terms: list[str]) -> Callable[[Values], bool]:
    # The terms consist of field names of our own schemas, which Avro restricts to letters, digits and _.
    source = f"lambda v: {' and '.join(terms) or 'True'}"
    predicate: Callable[[Values], bool] = eval(source, {"only_integers": _ONLY_INTEGERS})  # noqa: S307
    return predicate


def _range_terms(name: str, kind: Any) -> list[str]:
    if name.endswith("exponent"):
        return [f"{-EXPONENT_LIMIT} <= v[{name!r}] <= {EXPONENT_LIMIT}"]
    if kind == "int":
        return [f"{_INT32_MIN} <= v[{name!r}] <= {_INT32_MAX}"]
    if isinstance(kind, list) and "int" in kind:
        return [f"(v[{name!r}] is None or {_INT32_MIN} <= v[{name!r}] <= {_INT32_MAX})"]
    return []


def _type_terms(types: dict[str, Any]) -> list[str]:
    terms = []
    if integers := [name for name, kind in types.items() if kind in _INTEGERS]:
        terms.append(" is ".join([f"type(v[{name!r}])" for name in integers] + ["int"]))
    if booleans := [name for name, kind in types.items() if kind == "boolean"]:
        terms.append(" is ".join([f"type(v[{name!r}])" for name in booleans] + ["bool"]))
    if arrays := [name for name, kind in types.items() if _is_array_of_integers(kind)]:
        terms.append(f"{{{', '.join(f'*map(type, v[{name!r}])' for name in arrays)}}} <= only_integers")
    return terms


def _is_array_of_integers(kind: Any) -> bool:
    return isinstance(kind, dict) and kind["type"] == "array" and kind["items"] in _INTEGERS


def _type_fault(value: Any, expected: Any) -> str | None:
    if expected in _INTEGERS and type(value) is not int:
        return "not an integer"
    if expected == "boolean" and type(value) is not bool:
        return "not a boolean"
    if expected in _INTEGERS or expected == "boolean":
        return None if validate(value, expected, raise_errors=False) else f"beyond Avro's {expected}"
    if not _encodable(value):
        return "not encodable as UTF-8"
    if _is_array_of_integers(expected):
        if not isinstance(value, (list, tuple)) or {type(item) for item in value} - _ONLY_INTEGERS:
            return "not a list of integers"
        return None if validate(value, expected, raise_errors=False) else f"an item beyond Avro's {expected['items']}"
    return None if validate(value, expected, raise_errors=False) else f"not of the type {_type_name(expected)}"


def _encodable(value: Any) -> bool:
    """Return whether ``value``, a text or a map of texts, has no lone surrogates."""
    if isinstance(value, dict):
        return all(_encodable(part) for item in value.items() for part in item)
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return False
    return True


def _type_name(expected: Any) -> str:
    if isinstance(expected, list):
        return " or ".join(_type_name(item) for item in expected)
    if isinstance(expected, dict):
        symbols = f" of {', '.join(expected['symbols'])}" if expected["type"] == "enum" else ""
        return f"{expected['type']}{symbols}"
    return str(expected)
