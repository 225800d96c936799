"""The library of queries: ``.sql`` files in ``sinks/clickhouse/queries``, found by their place.

A file begins with comments: its first line says what it answers, the following ones what has to be known about it, and
lines ``-- parameter …`` what it takes (:mod:`sinks.clickhouse.parameters`). Its name is the query's.
"""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

from alphapulse.errors import ServiceError
from sinks.clickhouse.parameters import Parameter, ParametersRefused, bound, parameters_of
from sinks.clickhouse.readonly import QueryRefused

_COLUMNS: Final = 100


@dataclass(frozen=True, slots=True)
class StoredQuery:
    """A query of the library, or of a user's file.

    Attributes:
        name: of the library's query, or path of the file; empty for one that was typed.
        text: the whole file.
        summary: what it answers, one line; empty if the file does not say.
        about: the rest of the description, lines.
    """

    name: str
    text: str
    summary: str
    about: tuple[str, ...]
    parameters: tuple[Parameter, ...]

    def values(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return the values to bind.

        Raises:
            QueryRefused: naming the query, the parameter and what is wrong.
        """
        try:
            return bound(self.parameters, given)
        except ParametersRefused as error:
            raise QueryRefused(_placed(self.name, error)) from error


def parse(name: str, text: str) -> StoredQuery:
    """Return the query in a file's text.

    Raises:
        QueryRefused: its header and its text do not agree.
    """
    try:
        parameters = parameters_of(text)
    except ParametersRefused as error:
        raise QueryRefused(_placed(name, error)) from error
    header: list[str] = []
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        header.append(line.removeprefix("--").strip())
    told = [line for line in header if not line.startswith("parameter ")]
    summary, about = (told[0], told[1:]) if told else ("", [])
    return StoredQuery(name, text, summary, tuple("\n".join(about).strip("\n").splitlines()), parameters)


@cache
def library() -> dict[str, StoredQuery]:
    """Return the library's queries by name, in the order of their names.

    Raises:
        QueryRefused: a file of the library is not as it must be.
    """
    files = resources.files("sinks.clickhouse").joinpath("queries").iterdir()
    texts = {file.name.removesuffix(".sql"): file for file in files if file.name.endswith(".sql")}
    return {name: parse(name, texts[name].read_text(encoding="utf-8")) for name in sorted(texts)}


def named(name: str) -> StoredQuery:
    """Return a query of the library.

    Raises:
        QueryRefused: there is none of that name.
    """
    queries = library()
    if name in queries:
        return queries[name]
    near = difflib.get_close_matches(name, queries, 1)
    hint = f", did you mean {near[0]}?" if near else ""
    raise QueryRefused(f"no query {name!r} in the library{hint} (alphapulse sql --list shows them)")


def read(path: Path) -> StoredQuery:
    """Return the query in a user's file.

    Raises:
        ServiceError: it cannot be read.
        QueryRefused: it is no text, or its header does not fit its query.
    """
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise ServiceError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise QueryRefused(f"{path}: not UTF-8 text at byte {error.start}") from error
    return parse(str(path), text)


def listed(queries: Sequence[StoredQuery], columns: int | None = None) -> str:
    """Return a list of queries with what they answer and take.

    Args:
        queries: to list.
        columns: width of the terminal, of which no more than 100 are used; None: none.
    """
    columns = min(columns or _COLUMNS, _COLUMNS)
    lines = []
    for one in queries:
        lines += [one.name, *textwrap.wrap(one.summary, columns, initial_indent="    ", subsequent_indent="    ")]
        for parameter in one.parameters:
            default = "" if parameter.default is None else f" = {parameter.default}"
            about = f"-p {parameter.name}{default}  {parameter.about}"
            lines += textwrap.wrap(about, columns, initial_indent="      ", subsequent_indent="          ")
        lines.append("")
    return "\n".join(lines)


def _placed(name: str, error: Exception) -> str:
    return f"{name}: {error}" if name else str(error)
