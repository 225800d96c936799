"""Messages for configuration errors: place, key, reason, value and suggestion, without secrets."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from alphapulse.config.expected import TABLE, expected

Key = tuple[str, ...]

_SECRET = re.compile(r"passw|secret|token|api_?key|^key$", re.IGNORECASE)
# Up to the last "@": a password may have "@", "/" and "?" that should have been escaped.
_USERINFO = re.compile(r"(?<=://)\S+(?=@)")
_SECRET_OF_QUERY = re.compile(r"([?&][^=&\s]*(?:passw|secret|token|api_?key)[^=&\s]*=)[^&#\s'\"]*", re.IGNORECASE)


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return ``", did you mean …?"`` if one of ``known`` is close to ``name``, else an empty text."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f", did you mean {close[0]}?" if close else ""


def without_password(address: str) -> str:
    """Return the URL ``address``, or a text with URLs, without users and passwords.

    Those of ``https://user:password@host`` and of ``https://host/?password=…``; rather too much than too little.
    """
    return _SECRET_OF_QUERY.sub(r"\1***", _USERINFO.sub("***", address))


def shown(key: Key, value: object) -> str:
    """Return ``value`` as shown at the end of a message; secrets and whole tables are not shown."""
    if any(_SECRET.search(part) for part in key):
        return "a value that is not shown"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and "@" in value and "://" not in value:
        return "a value that is not shown"  # an address without its scheme, perhaps with user and password
    return without_password(repr(value))[:80]


def key_of(fault: ErrorDetails) -> Key:
    """Return the key of a pydantic error; pydantic marks the *name* of a dict's entry by ``[key]``."""
    return tuple(str(part) for part in fault["loc"] if part != "[key]")


def described(fault: ErrorDetails, root: type[BaseModel]) -> str:
    """Return ``key …: reason, found value`` for a pydantic error on a value of ``root``."""
    key = key_of(fault)
    dotted = ".".join(key)
    if fault["type"] == "extra_forbidden":
        return f"key {dotted}: unknown key{suggestion(key[-1], fields_at(root, key[:-1]))}"
    if fault["type"] == "value_error":
        reason = fault["msg"].removeprefix("Value error, ")
    else:
        # Pydantic's own messages name its types and one bound at a time.
        reason = f"expected {expected(root, key)}"
    if fault["loc"][-1] == "[key]":
        return f"key {dotted}: {reason}"
    found = fault["input"]
    if isinstance(found, str) and (fields_at(root, key) or reason == f"expected {TABLE}"):
        # Text in place of a table may be the text of a table, with its secrets.
        return f"key {dotted}: {reason}, found text"
    return f"key {dotted}: {reason}, found {shown(key, found)}"


def fields_at(root: type[BaseModel], key: Key) -> list[str]:
    """Return the field names of the table at ``key``; empty if no table of fixed names is there."""
    kind: Any = root
    for part in key:
        if isinstance(kind, type) and issubclass(kind, BaseModel) and part in kind.model_fields:
            kind = kind.model_fields[part].annotation
        elif typing.get_origin(kind) is dict:
            kind = typing.get_args(kind)[1]
        else:
            return []
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return list(kind.model_fields)
    return []


def strict_faults(root: type[BaseModel], name: str, text: str) -> list[ErrorDetails]:
    """Validate one top-level key of a file, given as JSON ``text``; return the errors.

    A file has typed values, so ``port = "8000"`` or ``enabled = 1`` is an error there; in an environment variable,
    which is always text, it is not.
    """
    field = root.model_fields.get(name)
    if field is None or field.annotation is None:
        return [{"type": "extra_forbidden", "loc": (name,), "msg": "", "input": None}]
    adapter: TypeAdapter[Any] = TypeAdapter(field.annotation)
    try:
        adapter.validate_json(text, strict=True)
    except ValidationError as error:
        return [{**fault, "loc": (name, *fault["loc"])} for fault in error.errors()]
    return []


def leaf_fields(root: type[BaseModel], prefix: Key = ()) -> list[Key]:
    """Return the paths of all keys with fixed names, including tables."""
    found: list[Key] = []
    for name, field in root.model_fields.items():
        found.append((*prefix, name))
        kind = field.annotation
        if isinstance(kind, type) and not isinstance(kind, types.GenericAlias) and issubclass(kind, BaseModel):
            found += leaf_fields(kind, (*prefix, name))
    return found
