"""Reading a configuration from TOML files and the environment, with every fault told at once.

It knows nothing of the keys; those are :mod:`alphapulse.config`'s.
"""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from alphapulse import config_faults as told
from alphapulse.errors import ConfigError
from alphapulse.toml_lines import key_lines, line_of

S = TypeVar("S", bound=BaseSettings)


def read(root: type[S], folder: Path | None, names: tuple[str, ...], *, prefix: str, outside: frozenset[str]) -> S:
    """Read ``root`` from the files ``names`` in ``folder`` (each optional), the environment on top.

    Args:
        root: the whole configuration; its environment variables begin with ``prefix``.
        folder: of the files; None for the environment alone.
        names: of the files; no key may stand in two of them.
        prefix: any other variable that begins so is refused, but for those in ``outside``.
        outside: variables that are no keys of ``root``.

    Raises:
        ConfigError: with every fault found, in files and environment.
    """
    faults: list[str] = []
    known: set[told.Key] = set()
    merged: dict[str, Any] = {}
    origin: dict[str, _File] = {}
    for file in _files(folder, names, faults):
        for name, value in file.table.items():
            if name in origin:
                faults.append(f"{file.place((name,))}: key {name}: stands in {origin[name].place((name,))} already")
                continue
            origin[name] = file
            merged[name] = value
            for item in told.strict_faults(root, name, json.dumps(value, default=str)):
                known.add(told.key_of(item))
                faults.append(f"{file.place(told.key_of(item))}: {told.described(item, root)}")
    settings: S | None = None
    try:
        settings = root(**merged)
    except ValidationError as error:
        for item in error.errors():
            key = told.key_of(item)
            variable = _variable_of(key, prefix)
            # What the file alone is guilty of has been told, with its line.
            if variable is not None or key not in known:
                file_place = origin[key[0]].place(key) if key[0] in origin else "configuration"
                faults.append(f"{variable or file_place}: {told.described(item, root)}")
    faults += _unknown_variables(root, prefix, outside)
    if faults or settings is None:
        raise ConfigError(faults)
    return settings


class _File:
    """A configuration file that was read."""

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
    if not folder.is_dir():
        faults.append(f"{folder}: no such folder")
        return files
    strangers = [path for path in sorted(folder.glob("*.toml")) if path.name not in names]
    faults += [f"{path}: unknown file{told.suggestion(path.name, names)}" for path in strangers]
    for name in names:
        path = folder / name
        try:
            files.append(_File(path, path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            continue
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            faults.append(f"{path}: {error}")
        except OSError as error:
            faults.append(f"{path}: {error.strerror or error}")
    return files


def _variable_of(key: told.Key, prefix: str) -> str | None:
    """Return the environment variable that set ``key``: its own, one around it (JSON) or one inside it."""
    present = {name.upper(): name for name in os.environ if name.upper().startswith(prefix)}
    for length in range(len(key), 0, -1):
        name = prefix + "__".join(key[:length]).upper()
        if name in present:
            return present[name]
    inside = prefix + "__".join(key).upper() + "__"
    return next((name for upper, name in sorted(present.items()) if upper.startswith(inside)), None)


def _unknown_variables(root: type[BaseSettings], prefix: str, outside: frozenset[str]) -> list[str]:
    """pydantic-settings ignores a variable whose first part is no key: a typo would pass in silence."""
    roots = tuple(f"{prefix}{name.upper()}" for name in root.model_fields)
    names = [prefix + "__".join(key).upper() for key in told.leaf_fields(root)]
    return [
        f"{name}: unknown variable{told.suggestion(name.upper(), names)}"
        for name in sorted(os.environ)
        if name.upper().startswith(prefix)
        and name not in outside
        and not any(name.upper() == known or name.upper().startswith(f"{known}__") for known in roots)
    ]
