"""Plain English for what a configuration key takes: "a whole number from 0 to 65535".

Made of the annotations of the settings, so a message says all bounds, whichever of them a value violates.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

_NOUNS: Final[Mapping[object, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    Decimal: "a number",
    str: "text",
    SecretStr: "text",
    Path: "a path",
}
_LISTS: Final[Mapping[object, str]] = {
    int: "a list of whole numbers, such as [1, 60]",
    str: 'a list, such as ["a", "b"]',
}
"""By the type of the elements."""
TABLE: Final = "a table"


def expected(root: type[BaseModel], key: Iterable[str]) -> str:
    """Return what the value at ``key`` of ``root`` must be.

    Args:
        root: the whole configuration.
        key: names of the tables and of the key; of a value in a list or table also its number or name.

    Raises:
        LookupError: there is no such key, or its type has no words here.
    """
    kind: Any = root
    limits: tuple[object, ...] = ()
    for part in key:
        kind, limits = _inside(kind, part)
        kind, limits = _plain(kind, limits)
    return described(kind, limits)


def choices(values: Iterable[object]) -> str:
    """Return ``'a', 'b' or 'c'``."""
    *most, last = [repr(value) for value in values]
    return f"{', '.join(most)} or {last}" if most else last


def _inside(kind: Any, part: str) -> tuple[Any, tuple[object, ...]]:
    """Return type and limits of what ``part`` names in a value of type ``kind``."""
    if isinstance(kind, type) and issubclass(kind, BaseModel) and part in kind.model_fields:
        field: FieldInfo = kind.model_fields[part]
        return field.annotation, tuple(field.metadata)
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is dict:
        return arguments[1], ()
    if typing.get_origin(kind) is tuple and part.isdecimal():
        return arguments[0], ()
    raise LookupError(f"{kind} has no {part}")


def _plain(kind: Any, limits: tuple[object, ...]) -> tuple[Any, tuple[object, ...]]:
    """Return ``kind`` without ``Annotated`` and ``| None``, and ``limits`` with those that it had."""
    while True:
        if typing.get_origin(kind) is Annotated:
            limits += kind.__metadata__
            kind = kind.__origin__
        elif typing.get_origin(kind) in (Union, types.UnionType):
            (kind,) = (one for one in typing.get_args(kind) if one is not types.NoneType)
        else:
            return kind, tuple(limit for one in limits for limit in _flat(one))


def _flat(limit: object) -> tuple[object, ...]:
    return tuple(limit.metadata) if isinstance(limit, FieldInfo) else (limit,)


def described(kind: Any, limits: tuple[object, ...] = ()) -> str:
    """Return what a value of type ``kind`` within ``limits`` is (:mod:`annotated_types`).

    Raises:
        LookupError: the type has no words here.
    """
    kind, limits = _plain(kind, limits)
    origin = typing.get_origin(kind)
    if origin is Literal:
        return choices(typing.get_args(kind))
    if origin is tuple:
        return _LISTS[_plain(typing.get_args(kind)[0], ())[0]]
    if origin is dict or (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return TABLE
    if kind not in _NOUNS:
        raise LookupError(f"no words for the type {kind}")
    return f"{_NOUNS[kind]}{_range(limits)}"


def _range(limits: tuple[object, ...]) -> str:
    bounds: dict[type, Any] = {}
    for limit in limits:
        match limit:
            case Ge(ge=value) | Gt(gt=value) | Le(le=value) | Lt(lt=value):
                bounds[type(limit)] = value
            case _:
                pass
    if Ge in bounds and Le in bounds:
        return f" from {bounds[Ge]} to {bounds[Le]}"
    words = {Ge: "of at least", Gt: "greater than", Le: "of at most", Lt: "less than"}
    said = [f"{words[bound]} {bounds[bound]}" for bound in words if bound in bounds]
    return f" {' and '.join(said).replace(' and of ', ' and ')}" if said else ""
