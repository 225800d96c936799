"""Read a configuration from TOML files and the environment; report all errors at once.

Independent of the keys, which :mod:`alphapulse.config` defines.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from alphapulse.config import faults as told
from alphapulse.config import secret_files
from alphapulse.config.toml_lines import key_lines, line_of
from alphapulse.errors import ConfigError
from alphapulse.text_files import NoText, read_text

S = TypeVar("S", bound=BaseSettings)

Rules: TypeAlias = Callable[[Mapping[str, Any], Collection[told.Key]], Iterable[tuple[told.Key, str]]]
"""Given all values (files and environment) and the keys whose form is invalid, returns further errors."""


def read(
    root: type[S],
    folder: Path | None,
    names: tuple[str, ...],
    *,
    prefix: str,
    outside: frozenset[str],
    environment: Callable[[], Mapping[str, Any]],
    rules: Rules,
) -> S:
    """Read ``root`` from the files ``names`` in ``folder`` (each optional), overridden by the environment.

    Args:
        root: the whole configuration; its environment variables begin with ``prefix``.
        folder: holds the files; None: environment only.
        names: file names; no key may be in two of them.
        prefix: other variables with this prefix are refused, except those in ``outside``.
        outside: variables that are not keys of ``root``.
        environment: returns the values from the environment.
        rules: checks between values; evaluated in the same pass.

    Raises:
        ConfigError: lists all errors in files and environment.
    """
    _, faults = secret_files.expanded(os.environ, prefix)
    known: set[told.Key] = set()
    merged: dict[str, Any] = {}
    origin: dict[str, _File] = {}
    for file in _files(folder, names, faults):
        for name, value in file.table.items():
            if name in origin:
                faults.append(f"{file.place((name,))}: key {name}: already set in {origin[name].place((name,))}")
                continue
            origin[name] = file
            merged[name] = value
            for item in told.strict_faults(root, name, json.dumps(value, default=str)):
                known.add(told.key_of(item))
                faults.append(f"{file.place(told.key_of(item))}: {told.described(item, root)}")
    faulty = set(known)
    settings: S | None = None
    try:
        settings = root(**merged)
    except ValidationError as error:
        for item in error.errors():
            key = told.key_of(item)
            variable = variable_of(key, prefix)
            # Errors of the file alone are already reported, with their lines.
            if variable is not None or key not in known:
                faults.append(f"{variable or _place(key, origin)}: {told.described(item, root)}")
            faulty.add(key)
    for key, reason in rules(_merged(merged, environment()), faulty):
        faults.append(f"{variable_of(key, prefix) or _place(key, origin)}: key {'.'.join(key)}: {reason}")
    faults += _unknown_variables(root, prefix, outside)
    if faults or settings is None:
        raise ConfigError(sorted(faults, key=_reading_order))
    return settings


class _File:
    """One configuration file."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.table = tomllib.loads(text)
        self._lines = key_lines(text)

    def place(self, key: told.Key) -> str:
        """Return ``path:line`` of ``key``."""
        line = line_of(key, self._lines)
        return str(self.path) if line is None else f"{self.path}:{line}"


def _files(folder: Path | None, names: tuple[str, ...], faults: list[str]) -> list[_File]:
    files: list[_File] = []
    if folder is None:
        return files
    try:
        found = sorted(folder.iterdir())
    except OSError as error:
        reasons: dict[type[OSError], str] = {FileNotFoundError: "no such folder", NotADirectoryError: "not a folder"}
        faults.append(f"{folder}: {reasons.get(type(error)) or error.strerror or error}")
        return files
    strangers = [path for path in found if path.suffix == ".toml" and path.name not in names]
    faults += [f"{path}: unknown file{told.suggestion(path.name, names)}" for path in strangers]
    for name in names:
        path = folder / name
        try:
            files.append(_File(path, read_text(path)))
        except FileNotFoundError:
            continue
        except NoText as error:
            faults.append(f"{path}: {error}")
        except tomllib.TOMLDecodeError as error:
            faults.append(f"{_syntax_place(path, str(error))}: {error}")
        except OSError as error:
            faults.append(f"{path}: {error.strerror or error}")
    return files


def _syntax_place(path: Path, message: str) -> str:
    """Return ``path:line`` of a :mod:`tomllib` error, whose message ends with the line."""
    found = re.search(r"\(at line (\d+), column \d+\)$", message)
    return f"{path}:{found[1]}" if found else str(path)


def _reading_order(fault: str) -> tuple[str, int]:
    """Sort key of an error: file and line, the order in which a person fixes them."""
    found = re.match(r"(.+?):(\d+): ", fault)
    return (found[1], int(found[2])) if found else (fault, 0)


def _place(key: told.Key, origin: Mapping[str, _File]) -> str:
    return origin[key[0]].place(key) if key[0] in origin else "configuration"


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``below`` overridden by ``above``; tables are merged by key."""
    merged = dict(below)
    for key, value in above.items():
        inner = merged.get(key)
        both = isinstance(inner, dict) and isinstance(value, dict)
        merged[key] = _merged(inner, value) if both and isinstance(inner, dict) else value
    return merged


def variable_of(key: told.Key, prefix: str) -> str | None:
    """Return the environment variable that set ``key``: its own, of a table around it (JSON) or of a part of it."""
    present = {name.upper(): name for name in os.environ if name.upper().startswith(prefix)}
    for length in range(len(key), 0, -1):
        name = prefix + "__".join(key[:length]).upper()
        if (set_by := present.get(name) or present.get(name + secret_files.SUFFIX)) is not None:
            return set_by
    inside = prefix + "__".join(key).upper() + "__"
    return next((name for upper, name in sorted(present.items()) if upper.startswith(inside)), None)


def _unknown_variables(root: type[BaseSettings], prefix: str, outside: frozenset[str]) -> list[str]:
    """Return errors for unknown variables; pydantic-settings silently ignores an unknown first part, such as a typo."""
    roots = tuple(f"{prefix}{name.upper()}" for name in root.model_fields)
    variables = {name: name.upper().removesuffix(secret_files.SUFFIX) for name in os.environ}
    names = [prefix + "__".join(key).upper() for key in told.leaf_fields(root)]
    return [
        f"{name}: unknown variable{told.suggestion(meant, names)}"
        for name, meant in sorted(variables.items())
        if meant.startswith(prefix)
        and name not in outside
        and not any(meant == known or meant.startswith(f"{known}__") for known in roots)
    ]
