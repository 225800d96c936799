#!/usr/bin/env python3
"""Reference of the configuration, docs/configuration.md, made of the settings in alphapulse/config.

``scripts/settings_doc.py`` writes the file, ``--check`` exits with 1 if it is not what it should be. A key's
description is the docstring of its field, or of the field's type; where there is none, the comment beside the key in
deploy/config/services.toml.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from generated import run
from pydantic import BaseModel, SecretStr
from pydantic_core import PydanticUndefined

from alphapulse.config import settings, values
from alphapulse.config.section import Section

ROOT: Final = Path(__file__).resolve().parent.parent
TARGET: Final = ROOT / "docs" / "configuration.md"
FILE: Final = ROOT / "deploy" / "config" / "services.toml"

TYPES: Final = {
    "bool": "`true` or `false`",
    "int": "integer",
    "float": "number",
    "str": "text",
    "Path": "path",
    "Decimal": "decimal number",
    "Addresses": "`host:port`, several separated by commas",
    "HttpUrl": "URL, `http` or `https`",
    "WebSocketUrl": "URL, `ws` or `wss`",
    "Secret": "text, never shown",
    "Group": "text, not empty",
    "Database": "plain name: letters, digits and `_`",
    "Topics": "list of topics",
    "TopicName": "topic",
    "Symbol": "symbol or pattern",
    "Network": "network (CIDR)",
}
"""Name in an annotation → words."""
BOUNDS: Final = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}

HEAD: Final = """\
# Configuration

Made of [`alphapulse/config`](../alphapulse/config/settings.py) by `scripts/settings_doc.py`; a test compares them.

`services.toml` and `exchanges.toml` are read from one folder (`--config DIR`, or `ALPHAPULSE_CONFIG`); both are
optional, and so is every key. [`deploy/config`](../deploy/config/services.toml) has all of them with their defaults.

* **Environment.** `ALPHAPULSE_<SECTION>__<KEY>` overrides a key, deeper ones by further double underscores:
  `ALPHAPULSE_KAFKA__BOOTSTRAP`, `ALPHAPULSE_GATEWAY__ACCESS__MODE`. Lists are written `a,b` or as JSON, tables as JSON.
* **Secrets as files.** With the suffix `_FILE` the variable names a file that holds the value, such as
  `ALPHAPULSE_KAFKA__SASL_PASSWORD_FILE=/run/secrets/kafka`.
* **Errors.** Unknown keys are refused. `alphapulse check` lists all errors at once, each with file and line, or its
  variable; a service refuses to start with the same list, and exit code 2.
* **Changes.** Collectors follow `exchanges.toml` within two seconds, without a restart; an invalid file changes
  nothing. Every other key is read at the start of a service.
"""


@dataclass(frozen=True)
class Key:
    """One key of a table."""

    name: str
    type: str
    default: str
    description: str


@dataclass(frozen=True)
class Source:
    """What the source of a module says beside its values: annotations and docstrings."""

    annotations: dict[str, dict[str, ast.expr]]
    """Class → field → annotation."""
    descriptions: dict[str, dict[str, str]]
    aliases: dict[str, ast.expr]
    """Types that the module defines, such as ``DrainSeconds``."""
    alias_descriptions: dict[str, str]


def source_of(text: str) -> Source:
    """Return what a module's source says of its classes' fields and of its types."""
    found = Source({}, {}, {}, {})
    body = ast.parse(text).body
    for node, after in zip_longest(body, body[1:]):
        match node:
            case ast.ClassDef(name=name, body=fields):
                found.annotations[name] = {}
                found.descriptions[name] = {}
                for field, below in zip_longest(fields, fields[1:]):
                    if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                        found.annotations[name][field.target.id] = field.annotation
                        found.descriptions[name][field.target.id] = _docstring(below)
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Subscript(value=ast.Name(id="Annotated")) as value):
                found.aliases[name] = value
                found.alias_descriptions[name] = _docstring(after)
            case _:
                pass
    return found


def _docstring(node: ast.stmt | None) -> str:
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return " ".join(text.split())
        case _:
            return ""


def words(annotation: ast.expr, source: Source) -> str:
    """Return an annotation in words.

    Raises:
        LookupError: it has a name that is neither in ``TYPES`` nor defined by the module.
    """
    match annotation:
        case ast.Name(id=name) if name in TYPES:
            return TYPES[name]
        case ast.Name(id=name) if name in source.aliases:
            return words(source.aliases[name], source)
        case ast.Name(id=name) if name in SHARED.aliases:
            return words(SHARED.aliases[name], SHARED)
        case ast.BinOp(left=left, op=ast.BitOr(), right=ast.Constant(value=None)):
            return words(left, source)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            listed = choices.elts if isinstance(choices, ast.Tuple) else [choices]
            return ", ".join(f"`{ast.literal_eval(choice)}`" for choice in listed)
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[inner, _])):
            return f"list of {words(inner, source)}"
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[key, value])):
            return f"table: {words(key, source)} = {words(value, source)}"
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, *more])):
            return ", ".join([words(inner, source), *_bounds(more)])
        case _:
            raise LookupError(f"no words for the type {ast.unparse(annotation)} in scripts/settings_doc.py")


SHARED: Final = source_of(inspect.getsource(values))
"""Types of all settings; those without words of their own are told by what they are made of."""


def _bounds(more: list[ast.expr]) -> Iterator[str]:
    for node in more:
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg in BOUNDS:
                    yield f"{BOUNDS[keyword.arg]} {ast.literal_eval(keyword.value):,}"


def comments() -> dict[tuple[str, str], str]:
    """Return the comments beside the keys of services.toml: (table, key) → comment."""
    found: dict[tuple[str, str], str] = {}
    table = ""
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if head := re.match(r"\[([\w.]+)\]", line):
            table = head[1]
        elif key := re.match(r"(?:# )?(\w+) = (?:\"[^\"]*\"|[^#\"]*)\s+# (.*)", line):
            found[table, key[1]] = key[2].strip()
    return found


def _default(value: Any) -> str:
    match value:
        case None:
            return ""
        case SecretStr() | "":
            return '`""`'
        case bool():
            return f"`{str(value).lower()}`"
        case int() | float() | Decimal():
            return f"`{value}`"
        case tuple() | list():
            return f"`{json.dumps(list(value))}`"
        case dict():
            return "`{}`"
        case _:
            return f'`"{value}"`'


def _defined(model: type[BaseModel], name: str) -> tuple[Source, str]:
    """Return the source and the name of the class that defines a field: the model, or one that it inherits from."""
    for owner in model.__mro__:
        source = source_of(inspect.getsource(sys.modules[owner.__module__]))
        if name in source.annotations.get(owner.__name__, {}):
            return source, owner.__name__
    raise LookupError(f"{model.__name__}.{name}: no class defines it")


def keys(model: type[BaseModel], table: str, beside: dict[tuple[str, str], str]) -> Iterator[Key]:
    """Return the keys of a table.

    Raises:
        LookupError: a key has neither a docstring nor a comment in services.toml.
    """
    for name, field in model.model_fields.items():
        if inspect.isclass(field.annotation) and issubclass(field.annotation, Section):
            continue
        source, owner = _defined(model, name)
        annotation = source.annotations[owner][name]
        said = source.descriptions[owner][name]
        if not said and isinstance(annotation, ast.Name):
            said = source.alias_descriptions.get(annotation.id, "")
        said = said or beside.get((table, name), "")
        if not said:
            raise LookupError(
                f"[{table}] {name}: neither a docstring in {model.__module__} nor a comment in {FILE.name}"
            )
        default = field.get_default(call_default_factory=True)
        yield Key(name, words(annotation, source), "" if default is PydanticUndefined else _default(default), said)


def document() -> str:
    """Return the reference as Markdown."""
    beside = comments()
    top = "Where services keep what is theirs: `run/` (who runs, on which port), `clickhouse/`, `parquet/`, `access/`."
    parts = [
        HEAD,
        "## Top level\n",
        *_table([Key("data_dir", "path", _default(settings.Settings.model_fields["data_dir"].default), top)]),
    ]
    for name, field in settings.Settings.model_fields.items():
        if inspect.isclass(field.annotation) and issubclass(field.annotation, Section):
            parts += _section(field.annotation, name, beside)
    parts += _section(settings.VenueSettings, "venues.NAME", beside)
    return "\n".join(parts).rstrip() + "\n"


def _section(model: type[BaseModel], table: str, beside: dict[tuple[str, str], str]) -> Iterator[str]:
    about = _markdown(" ".join((model.__doc__ or "").split()).partition("``: ")[2])
    variable = f"ALPHAPULSE_{table.upper().replace('.', '__')}__…"
    place = "exchanges.toml" if table.startswith("venues") else "services.toml"
    yield f"## `[{table}]`\n"
    yield f"{about} In `{place}`; variables `{variable}`.\n"
    yield from _table(list(keys(model, table, beside)))
    for name, field in model.model_fields.items():
        if inspect.isclass(field.annotation) and issubclass(field.annotation, Section):
            yield from _section(field.annotation, f"{table}.{name}", beside)


def _table(rows: list[Key]) -> Iterator[str]:
    yield "| key | type | default | |\n|---|---|---|---|"
    for key in rows:
        yield f"| `{key.name}` | {key.type} | {key.default} | {_markdown(key.description)} |"
    yield ""


def _markdown(text: str) -> str:
    """Return a description as a sentence of Markdown that fits a cell, with documents as links."""
    parts = text.replace("``", "`").replace("|", "\\|").split("`")
    parts[::2] = [part.replace("*", "\\*").replace("<", "&lt;") for part in parts[::2]]
    text = re.sub(r"\bdocs/([a-z-]+\.md)", r"[\1](\1)", "`".join(parts))
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "…")) else ".")


def main() -> int:
    """Write the file, or compare it; return the exit code."""
    return run((__doc__ or "").partition("\n")[0], lambda: {TARGET: document()}, "scripts/settings_doc.py")


if __name__ == "__main__":
    sys.exit(main())
