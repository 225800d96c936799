"""Interactive shell of ``alphapulse sql``.

A statement may have several lines and ends with ``;`` or an empty line; a query of the library is its name and values:
``ohlcv symbol=BTC-USD seconds=1``. Ctrl-C drops what is being typed, or ends the query that runs, never the shell.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from pathlib import Path
from typing import Final

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.formatted_text import HTML
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import Output

from alphapulse.errors import AlphaPulseError
from alphapulse.service import EXIT_OK
from sinks.clickhouse.completion import SqlCompleter, Words
from sinks.clickhouse.database import Database
from sinks.clickhouse.formats import BINARY, FORMATS
from sinks.clickhouse.library import StoredQuery, library, listed, named, parse
from sinks.clickhouse.paging import page
from sinks.clickhouse.paging import pager as default_pager
from sinks.clickhouse.readonly import QueryRefused

PROMPT: Final = "sql> "
_MORE: Final = "...> "
_POLL_SECONDS: Final = 0.2
"""How often a wait for a query looks for Ctrl-C."""
_HELP: Final = """\
SELECT …;              a query: it may have several lines and ends with ; or an empty line
NAME param=value …     a query of the library
list [NAME]            the queries of the library, or one of them
tables                 the tables and views
format NAME            table, csv, json or a ClickHouse format, for what follows
help, exit             also Ctrl-D; Ctrl-C ends a query; Tab completes, Ctrl-R searches the history
"""

_COLUMNS_QUERY: Final = """
SELECT table, name FROM system.columns
WHERE database = currentDatabase() AND NOT startsWith(table, '.') ORDER BY table, position
"""
_TABLES_QUERY: Final = """
SELECT name, engine = 'View' AS view, total_rows AS rows, formatReadableSize(total_bytes) AS bytes
FROM system.tables WHERE database = currentDatabase() AND NOT startsWith(name, '.') ORDER BY view, name
"""


def history_file() -> Path:
    """Return the file of what was typed: ``alphapulse/sql_history`` in the user's folder for state."""
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if state else Path.home() / ".local" / "state") / "alphapulse" / "sql_history"


class Shell:
    """Reads statements from the terminal and prints their results.

    Args:
        database: what is asked.
        place: its name, for people.
        output_format: of results, ClickHouse's name.
        pager: shows a text that does not fit the terminal; None: it is printed.
        terminal: input and output, for tests; None: the process's own.
    """

    def __init__(
        self,
        database: Database,
        place: str,
        output_format: str,
        *,
        pager: Sequence[str] | None = None,
        terminal: tuple[Input, Output] | None = None,
    ) -> None:
        self._database = database
        self._place = place
        self._format = output_format
        self._pager = list(pager) if pager is not None else default_pager()
        self._terminal = terminal
        self._interrupted = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="query")

    def run(self) -> int:
        """Read and answer until the end of the input; return the exit code.

        Raises:
            ServiceError: there is no database.
        """
        words = self._words()
        session = self._session(words)
        _tell(f"AlphaPulse SQL on {self._place}: {len(words.columns)} tables. 'help' says more, Ctrl-D ends.")
        while True:
            try:
                text = session.prompt(PROMPT)
            except KeyboardInterrupt:
                continue
            except EOFError:
                break
            # A flag, not an exception: that could come at any moment, also while an earlier one is handled. The prompt
            # has a handler of its own and leaves Python's behind.
            self._interrupted.clear()
            signal.signal(signal.SIGINT, lambda *_: self._interrupted.set())
            if not self.handle(text):
                break
        self._thread.shutdown(wait=True)
        return EXIT_OK

    def handle(self, text: str) -> bool:
        """Answer a statement; return False if it ends the shell. What is refused is told in one line."""
        statement = text.strip().rstrip(";").strip()
        if not statement:
            return True
        if statement.lower() in ("exit", "quit"):
            return False
        try:
            self._handle(statement)
        except AlphaPulseError as error:
            _tell(str(error))
        return True

    def _handle(self, statement: str) -> None:
        first, *rest = statement.split(maxsplit=1)
        match first.lower():
            case "help" | "?":
                sys.stdout.write(_HELP)
            case "list":
                self._list(rest[0] if rest else "")
            case "tables" if not rest:
                self._show(parse("", _TABLES_QUERY), {})
            case "format":
                self._choose_format(rest[0].strip() if rest else "")
            case name if name in library():
                self._show(library()[name], _values(name, rest[0] if rest else ""))
            case _:
                self._show(parse("", statement), {})

    def _list(self, name: str) -> None:
        shown = [named(name)] if name else list(library().values())
        page(listed(shown, shutil.get_terminal_size().columns), self._pager)

    def _choose_format(self, name: str) -> None:
        chosen = FORMATS.get(name, name)
        if not name or chosen in BINARY:
            raise QueryRefused(f"format: {'a name is expected' if not name else f'{name} is not for a terminal'}")
        self._format = chosen

    def _show(self, query: StoredQuery, given: dict[str, str]) -> None:
        values = query.values(given)
        began = time.monotonic()
        # Read to the end before it is shown: a pager that waits must not hold up a sink.
        answer = self._wait(self._thread.submit(lambda: b"".join(self._database.ask(query.text, self._format, values))))
        seconds = time.monotonic() - began
        page(answer.decode(errors="replace"), self._pager)
        _tell(f"{seconds:.3f} s" if answer else f"no rows, {seconds:.3f} s")

    def _wait(self, asked: Future[bytes]) -> bytes:
        while True:
            try:
                return asked.result(timeout=_POLL_SECONDS)
            except NotYet:
                if asked.done():
                    raise
                if self._interrupted.is_set():  # again, for it may not have begun at the first time
                    self._database.cancel()

    def _words(self) -> Words:
        """Return what Tab completes; it also finds out whether there is a database at all."""
        rows = b"".join(self._database.ask(_COLUMNS_QUERY, "TSV")).decode().splitlines()
        columns: dict[str, list[str]] = {}
        for row in rows:
            table, _, column = row.partition("\t")
            columns.setdefault(table, []).append(column)
        keywords = b"".join(self._database.ask("SELECT keyword FROM system.keywords", "TSV")).decode().splitlines()
        functions = b"".join(self._database.ask("SELECT name FROM system.functions", "TSV")).decode().splitlines()
        return Words(columns, tuple(keywords), tuple(functions), library())

    def _session(self, words: Words) -> PromptSession[str]:
        keys = KeyBindings()

        @keys.add("enter")
        def _(event: KeyPressEvent) -> None:
            buffer = event.current_buffer
            if buffer.complete_state is not None and buffer.complete_state.current_completion is not None:
                buffer.complete_state = None
            elif complete(buffer.text):
                buffer.validate_and_handle()
            else:
                buffer.insert_text("\n")

        source, sink = self._terminal if self._terminal is not None else (None, None)
        return PromptSession(
            history=_history(),
            completer=SqlCompleter(words),
            complete_while_typing=False,
            auto_suggest=AutoSuggestFromHistory(),
            enable_history_search=True,
            multiline=True,
            prompt_continuation=_MORE,
            key_bindings=keys,
            bottom_toolbar=lambda: HTML("<b>;</b> or an empty line runs it · <b>Tab</b> completes · <b>help</b>"),
            input=source,
            output=sink,
        )


def complete(text: str) -> bool:
    """Return whether Enter runs ``text`` as it is: it ends with ``;`` or an empty line, or is no SQL."""
    stripped = text.strip()
    if not stripped or stripped.endswith(";") or text.rsplit("\n", 1)[-1].strip() == "":
        return True
    first = stripped.split(maxsplit=1)[0].lower()
    return first in ("exit", "quit", "help", "?", "list", "tables", "format") or first in library()


def _values(name: str, text: str) -> dict[str, str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise QueryRefused(f"{name}: {error}") from error
    found = {}
    for word in words:
        key, mark, value = word.partition("=")
        if not mark:
            raise QueryRefused(f"{name}: {word!r:.80}: expected NAME=VALUE")
        found[key.removeprefix("-p")] = value
    return found


def _history() -> History:
    path = history_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        with path.open("ab"):
            return FileHistory(path)
    except OSError as error:
        _tell(f"{path}: {error.strerror or error}: what is typed will not be remembered")
        return InMemoryHistory()


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
