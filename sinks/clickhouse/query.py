"""``alphapulse sql``: query the embedded database of a data directory.

Only one process can open an embedded database; the lock beside its folder says whether one does. If none does, it is
opened here; if a sink does, the query is sent to the port in its run file. A run file without a lock is ignored.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError

from alphapulse import output
from alphapulse.claim import InUse, claim
from alphapulse.errors import AlphaPulseError, ServiceError
from alphapulse.service import EXIT_OK, EXIT_REFUSED
from sinks.clickhouse.engine import database_folder, message
from sinks.clickhouse.readonly import QueryRefused, ask, restrict

DEFAULT_FORMAT: Final = "PrettyCompact"
_SINK: Final = "sink-clickhouse"
SINK_SECONDS: Final = 120.0
"""Timeout for the sink's answer to begin: queries wait for one another, and each may run for 30 s."""

_OF_THE_ENGINE: Final = frozenset({"default", "system", "information_schema", "INFORMATION_SCHEMA"})


def query(data_dir: Path, database: str, text: str, output_format: str) -> Iterable[bytes]:
    """Run a query on the embedded database under ``data_dir``; return the result in parts.

    Args:
        data_dir: of a running or ended demo or replay.
        database: name of the database; a running sink uses its own.
        text: the query.
        output_format: ClickHouse format, unless the query names one.

    Raises:
        ServiceError: there is no database, or the process that holds it does not answer.
        QueryRefused: ClickHouse refuses the query, or it is not read-only.
    """
    folder = database_folder(data_dir)
    try:
        folder.stat()
        found = folder.is_dir()
    except (FileNotFoundError, NotADirectoryError):
        found = False
    except OSError as error:
        raise ServiceError(f"{folder}: {error.strerror or error}") from error
    if not found:
        raise ServiceError(f"{folder}: no database there; run 'alphapulse demo' or 'alphapulse replay' first")
    reason = ""
    for _ in range(2):  # the sink may end between the two checks
        try:
            with claim(folder, "database", beside=True):
                return [_answer(folder, database, text, output_format)]
        except InUse as error:
            port, why = _sink_port(data_dir, error.holder)
            if port is not None:
                return _ask_sink(port, text, output_format)
            reason = f"{error}, and no ClickHouse sink answers queries for it: {why}"
    raise ServiceError(reason)


def _answer(folder: Path, database: str, text: str, output_format: str) -> bytes:
    dsn = f"chdb://{folder.resolve()}"
    try:
        client = clickhouse_connect.get_client(dsn=dsn)
        try:
            there = {str(row[0]) for row in client.query("SHOW DATABASES").result_rows} - _OF_THE_ENGINE
            if database in there:
                client.database = database
                client.command(f"USE `{database}`")
        except ClickHouseError:
            client.close()
            raise
    except ClickHouseError as error:
        raise ServiceError(f"{folder}: cannot be opened: {message(error)}") from error
    try:
        if database not in there:
            held = f"databases there: {', '.join(sorted(there))}" if there else "there is none"
            raise ServiceError(f"clickhouse.database: no database {database!r} in {folder}; {held}")
        restrict(client)
        return ask(client, text, output_format)
    finally:
        client.close()


def _sink_port(data_dir: Path, holder: int) -> tuple[int | None, str]:
    """Return the query port of the sink that holds the database, or why there is none.

    Args:
        data_dir: folder of the announcements.
        holder: process id of the lock's holder; 0 if unknown.
    """
    path = data_dir / "run" / f"{_SINK}.json"
    try:
        told: Any = json.loads(path.read_text(encoding="utf-8"))
        pid, port = int(told["pid"]), int(told["ops_port"])
    except FileNotFoundError:
        return None, f"{path} does not exist"
    except OSError as error:
        return None, f"{path}: {error.strerror or error}"
    except (ValueError, KeyError, TypeError):
        return None, f"{path} is incomplete or not a run file"
    if holder and pid != holder:
        return None, f"{path} belongs to another process, {pid}"
    if not told.get("sql"):
        return None, "it is still starting"
    return port, ""


def _ask_sink(port: int, text: str, output_format: str) -> Iterator[bytes]:
    url = f"http://127.0.0.1:{port}/sql?{urllib.parse.urlencode({'format': output_format})}"
    request = urllib.request.Request(url, data=text.encode(), method="POST")
    try:
        answer = urllib.request.urlopen(request, timeout=SINK_SECONDS)  # noqa: S310 loopback
    except urllib.error.HTTPError as error:
        raise QueryRefused(error.read().decode(errors="replace").strip()) from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise ServiceError(f"the ClickHouse sink on port {port} does not answer: {reason}") from error
    with answer:
        while True:
            # Only the sink's part of the work is within the try: our own reader may disconnect, too.
            try:
                block = answer.read(1 << 16)
            except OSError as error:
                raise ServiceError(f"the ClickHouse sink on port {port} broke off its answer: {error}") from error
            if not block:
                return
            yield block


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the result on standard output; return the exit code."""
    parser = argparse.ArgumentParser(prog="alphapulse sql", description="Query the tables in a data directory.")
    parser.add_argument("--data-dir", type=Path, required=True, metavar="DIR")
    parser.add_argument("--database", default="alphapulse")
    parser.add_argument("--format", default=DEFAULT_FORMAT, help="any output format of ClickHouse")
    parser.add_argument("query", help="the query, after --")
    options = parser.parse_args(arguments)
    try:
        try:
            options.query.encode()
        except UnicodeEncodeError as error:
            raise QueryRefused("the query is not UTF-8 text") from error
        for part in query(options.data_dir, options.database, options.query, options.format):
            output.write(part)
    except AlphaPulseError as error:
        print(f"alphapulse sql: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_REFUSED
    return EXIT_OK


if __name__ == "__main__":
    output.finish(main)
