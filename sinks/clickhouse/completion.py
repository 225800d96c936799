"""Completion of SQL in the shell: tables, columns, functions and keywords, and the library's queries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from sinks.clickhouse.library import StoredQuery

_WORD: Final = re.compile(r"[A-Za-z_][\w.]*$")
_NAMES: Final = re.compile(r"[A-Za-z_]\w*")
_ALIAS: Final = re.compile(r"\b(?:from|join)\s+(\w+)(?:\s+(?:as\s+)?(\w+))?", re.IGNORECASE)
_AFTER_TABLE: Final = re.compile(r"\b(?:from|join|describe|desc|table)\s+\w*$", re.IGNORECASE)
COMMANDS: Final = ("help", "list", "tables", "format", "exit")


@dataclass(frozen=True, slots=True)
class Words:
    """What there is to complete.

    Attributes:
        columns: table → its columns.
        keywords: of SQL, upper case.
        functions: of ClickHouse.
        queries: of the library, by name.
    """

    columns: Mapping[str, Sequence[str]]
    keywords: Sequence[str]
    functions: Sequence[str]
    queries: Mapping[str, StoredQuery]


class SqlCompleter(Completer):
    """Completes the word before the cursor; what fits the place best comes first."""

    def __init__(self, words: Words) -> None:
        self._words = words

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        before = document.text_before_cursor
        started = _WORD.search(before)
        word = started[0] if started is not None else ""
        first, *_ = before.lstrip().split(" ", 1)
        further = before.lstrip() != first
        if further and first in self._words.queries:
            yield from self._parameters(self._words.queries[first], word)
            return
        if further and first == "list":
            yield from _matching(word, self._words.queries, "query")
            return
        if "." in word:
            table, _, begun = word.rpartition(".")
            yield from _matching(begun, self._columns_of(table, document.text), "column")
            return
        if _AFTER_TABLE.search(before):
            yield from _matching(word, self._words.columns, "table")
            return
        if before.strip() == word:
            yield from _matching(word, self._words.queries, "query")
            yield from _matching(word, COMMANDS, "command")
        yield from _matching(word, self._near_columns(document.text), "column")
        yield from _matching(word, self._words.columns, "table")
        if word:
            yield from _matching(word, self._words.keywords, "keyword")
            yield from _matching(word, self._words.functions, "function")

    def _parameters(self, query: StoredQuery, word: str) -> Iterator[Completion]:
        for parameter in query.parameters:
            if parameter.name.startswith(word):
                shown = f"{parameter.type}: {parameter.about}"
                yield Completion(f"{parameter.name}=", -len(word), display_meta=shown)

    def _columns_of(self, name: str, text: str) -> Sequence[str]:
        """Return the columns of a table, or of the one that ``name`` is an alias of in ``text``."""
        for found in _ALIAS.finditer(text):
            if found[2] == name and found[1] in self._words.columns:
                return self._words.columns[found[1]]
        return self._words.columns.get(name, ())

    def _near_columns(self, text: str) -> Iterable[str]:
        """Return the columns of the tables that ``text`` names, or of all."""
        named = [name for name in _NAMES.findall(text) if name in self._words.columns]
        tables = named or list(self._words.columns)
        return dict.fromkeys(column for table in tables for column in self._words.columns[table])


def _matching(word: str, names: Iterable[str], kind: str) -> Iterator[Completion]:
    wanted = word.lower()
    for name in names:
        if name.lower().startswith(wanted):
            yield Completion(name, -len(word), display_meta=kind)
