"""``alphapulse sql``: a query on the tables of a data directory, or a shell for many.

A query is a text, the name of one in the library (:mod:`sinks.clickhouse.library`), a file, or standard input.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from alphapulse import output
from alphapulse.arguments import CommandParser
from alphapulse.errors import AlphaPulseError
from alphapulse.service import EXIT_OK, EXIT_REFUSED
from sinks.clickhouse.database import Database, query
from sinks.clickhouse.formats import BINARY, CONVERTED, FORMATS, converted
from sinks.clickhouse.library import StoredQuery, library, listed, named, parse, read
from sinks.clickhouse.paging import page, pager
from sinks.clickhouse.readonly import QueryRefused

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")

__all__ = ["main", "query"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the result on standard output; return the exit code."""
    parser = CommandParser(prog="alphapulse sql", description="Query the tables in a data directory.")
    parser.add_argument("--data-dir", type=Path, required=True, metavar="DIR")
    parser.add_argument("--database", default="alphapulse")
    parser.add_argument("--format", default="table", help=f"{', '.join(FORMATS)}, or any output format of ClickHouse")
    parser.add_argument("--file", type=Path, metavar="FILE", help="file that holds the query")
    parser.add_argument("--param", action="append", default=[], metavar="NAME=VALUE", help="value of {NAME:Type}")
    parser.add_argument("--list", action="store_true", help="show the queries of the library")
    parser.add_argument("query", nargs="?", help="the query, or the name of one of the library, after --")
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except AlphaPulseError as error:
        output.tell(f"alphapulse sql: {error}")
        return EXIT_REFUSED


def _run(options: argparse.Namespace) -> int:
    if options.list:
        shown = list(library().values()) if options.query is None else [named(options.query)]
        output.write(listed(shown, output.columns(sys.stdout)).encode())
        return EXIT_OK
    given = _given(options.param)
    chosen = FORMATS.get(options.format, options.format)
    database = Database(options.data_dir, options.database)
    if options.file is None and options.query is None and sys.stdin is not None and sys.stdin.isatty():
        if given:
            raise QueryRefused(f"-p {next(iter(given))}: there is no query to give it to")
        from sinks.clickhouse.shell import Shell

        return Shell(database, str(options.data_dir), chosen).run()
    wanted = _wanted(options)
    values = wanted.values(given)
    if chosen in BINARY and sys.stdout is not None and sys.stdout.isatty():
        raise QueryRefused(f"--format {options.format} is binary: redirect standard output into a file")
    try:
        parts = database.ask(wanted.text, chosen, values)
        if options.format in CONVERTED:
            try:
                output.write(converted(b"".join(parts), options.format))
            except ValueError as error:
                raise QueryRefused(f"--format {options.format}: {error}") from error
        elif sys.stdout is not None and sys.stdout.isatty():
            answer = b"".join(parts)
            page(answer.decode(errors="replace"), pager())
            _note_empty(chosen, not answer)
        else:
            empty = True
            for part in parts:
                empty = empty and not part
                output.write(part)
            _note_empty(chosen, empty)
    except QueryRefused as error:
        if not wanted.name:
            raise
        raise QueryRefused(f"{wanted.name}: {error}") from error
    return EXIT_OK


def _note_empty(chosen: str, empty: bool) -> None:
    """Tell on standard error that there are no rows: a table of none is no text at all."""
    if empty and chosen.startswith("Pretty"):
        print("no rows", file=sys.stderr)  # noqa: T201


def _wanted(options: argparse.Namespace) -> StoredQuery:
    if options.file is not None:
        if options.query is not None:
            raise QueryRefused(f"--file {options.file}: there is a query besides: {options.query!r:.80}")
        return read(options.file)
    if options.query is None:
        try:
            text = sys.stdin.buffer.read().decode() if sys.stdin is not None else ""
        except UnicodeDecodeError as error:
            raise QueryRefused(f"standard input: not UTF-8 text at byte {error.start}") from error
        if not text.strip():
            raise QueryRefused("standard input: there is no query")
        return parse("standard input", text)
    text = str(options.query)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise QueryRefused("the query is not UTF-8 text") from error
    if _NAME.fullmatch(text) is not None:
        return named(text)
    return parse("", text)


def _given(texts: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, mark, value = text.partition("=")
        if not mark or not name:
            raise QueryRefused(f"-p {text!r:.80}: expected NAME=VALUE")
        if name in found:
            raise QueryRefused(f"-p {name}: given twice")
        found[name] = value
    return found


if __name__ == "__main__":
    output.finish(main)
