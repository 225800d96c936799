"""Changes to the symbols of a venue in a configuration folder: in its file, comments kept, as a whole or not at all.

The services that follow the folder (:mod:`alphapulse.reload`) apply the change. A change is refused while the
environment sets the key, because the file would have no effect.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tomlkit
from tomlkit.exceptions import TOMLKitError

from alphapulse.config.loading import variable_of
from alphapulse.config.settings import FILES, PREFIX, load
from alphapulse.errors import AlphaPulseError, ConfigError, ValueRefused
from alphapulse.instruments import check_symbol_or_pattern
from alphapulse.text_files import NoText, read_text

_LINE: Final = 100
"""A list that would be longer than this on one line gets a line per symbol."""


class ChangeRefused(AlphaPulseError):
    """The configuration does not allow the change; the message says why."""

    recoverable = True


class SymbolExists(ChangeRefused):
    """The symbol is configured already."""


class NoSuchSymbol(ChangeRefused):
    """The venue or the symbol is not in the files."""


class SymbolInvalid(ChangeRefused):
    """The changed configuration would break a rule; lists every fault."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change that is ready to be written.

    Attributes:
        path: the file.
        before, after: its text.
        symbols: of the venue, after the change.
    """

    path: Path
    before: str
    after: str
    symbols: tuple[str, ...]


def added(folder: Path, venue: str, symbol: str) -> Change:
    """Return the change that adds ``symbol`` (or a pattern) to ``[venues.<venue>] symbols``.

    Raises:
        SymbolInvalid: it is not a symbol.
        SymbolExists: it is there.
        NoSuchSymbol: the venue is not in the files.
        ChangeRefused: the environment sets the key, or the files cannot be read.
    """
    try:
        check_symbol_or_pattern(symbol)
    except ValueRefused as error:
        raise SymbolInvalid(str(error)) from error
    path, text, document, listed = _listed(folder, venue)
    if symbol in listed:
        raise SymbolExists(f"{symbol} is already among the symbols of {venue} in {path.name}")
    listed.append(symbol)
    if not _several_lines(listed):
        listed.multiline(len(listed.as_string()) > _LINE)
    return Change(path, text, tomlkit.dumps(document), tuple(map(str, listed)))


def removed(folder: Path, venue: str, symbol: str) -> Change:
    """Return the change that removes ``symbol`` from ``[venues.<venue>] symbols``.

    Raises:
        NoSuchSymbol: the venue is not in the files, or has no such symbol.
        ChangeRefused: the environment sets the key, or the files cannot be read.
    """
    path, text, document, listed = _listed(folder, venue)
    if symbol not in listed:
        raise NoSuchSymbol(f"{symbol[:80]!r} is not among the symbols of {venue} in {path.name}: {', '.join(listed)}")
    listed.remove(symbol)
    return Change(path, text, tomlkit.dumps(document), tuple(map(str, listed)))


def _several_lines(listed: Any) -> bool:
    return "\n" in listed.as_string()


def _listed(folder: Path, venue: str) -> tuple[Path, str, tomlkit.TOMLDocument, Any]:
    """Return the file, its text, its document and the document's list of the venue's symbols."""
    key = ("venues", venue, "symbols")
    if (variable := variable_of(key, PREFIX)) is not None:
        raise ChangeRefused(f"{variable} sets {'.'.join(key)}: while it does, a change of the file has no effect")
    for name in FILES:
        path = folder / name
        try:
            text = read_text(path)
            document = tomlkit.parse(text)
        except FileNotFoundError:
            continue
        except (NoText, TOMLKitError) as error:
            raise ChangeRefused(f"{path}: {error}") from error
        except OSError as error:
            raise ChangeRefused(f"{path}: {error.strerror or error}") from error
        venues = document.get("venues")
        if venues is None:
            continue
        table = venues.get(venue)
        if table is None:
            raise NoSuchSymbol(f"no venue {venue[:80]!r} in {name}; configured: {', '.join(sorted(venues))}")
        if "symbols" not in table:
            table["symbols"] = tomlkit.array()
        listed = table["symbols"]
        if not isinstance(listed, tomlkit.items.Array):
            raise ChangeRefused(f"{path}: {'.'.join(key)} is not a list")
        return path, text, document, listed
    raise NoSuchSymbol(f"no venue is configured in {folder}")


Check = Callable[[Path], Awaitable[list[str]]]
"""Given a configuration folder, returns the faults of its venues' tables by the venues' own rules."""


async def applied(folder: Path, change: Change, check: Check) -> None:
    """Validate the changed configuration with the rules of the files and of the venues, then write it.

    Faults that are there without the change do not count. The file is replaced at once, with its permissions.

    Raises:
        SymbolInvalid: with every fault that the change makes.
        ChangeRefused: the file was changed meanwhile, or cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="alphapulse-") as name:
        trial = Path(name)
        for each in FILES:
            if (folder / each).exists():
                text = change.after if folder / each == change.path else read_text(folder / each)
                (trial / each).write_text(text, encoding="utf-8")
        faults = await _faults(trial, check)
        if faults:
            before = await _faults(folder, check)
            known = {fault.replace(str(folder), "") for fault in before}
            made = [fault for fault in faults if fault.replace(str(trial), "") not in known]
            if made:
                raise SymbolInvalid("; ".join(fault.replace(f"{trial}{os.sep}", "") for fault in made))
    _replace(change)


async def _faults(folder: Path, check: Check) -> list[str]:
    try:
        load(folder)
    except ConfigError as error:
        return error.faults
    return await check(folder)


def _replace(change: Change) -> None:
    """Write the file atomically.

    Raises:
        ChangeRefused: it was changed meanwhile, or cannot be written.
    """
    draft = change.path.with_name(f".{change.path.name}.{os.getpid()}.tmp")
    try:
        if read_text(change.path) != change.before:
            raise ChangeRefused(f"{change.path.name} was changed meanwhile; try again")
        mode = change.path.stat().st_mode & 0o7777
        with draft.open("w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(change.after)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(change.path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ChangeRefused(f"{change.path}: cannot be written: {error.strerror or error}") from error
