"""Read-only queries on the embedded database of a data directory, whoever holds it.

Only one process can open an embedded database; the lock beside its folder says whether one does. If none does, it is
opened here; if a sink does, the query is sent to the port in its run file. A run file without a lock is ignored.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from alphapulse.claim import InUse, claim
from alphapulse.errors import ServiceError
from sinks.clickhouse.endpoint import END_QUERY, PARAMETER
from sinks.clickhouse.engine import database_folder, message
from sinks.clickhouse.readonly import QueryRefused, ask, restrict

SINK_SECONDS: Final = 120.0
"""Timeout for the sink's answer to begin: queries wait for one another, and each may run for 30 s."""

_SINK: Final = "sink-clickhouse"
_OF_THE_ENGINE: Final = frozenset({"default", "system", "information_schema", "INFORMATION_SCHEMA"})


class Cancelled(QueryRefused):
    """:meth:`Database.cancel` ended the query."""

    def __init__(self) -> None:
        super().__init__("cancelled")


class Database:
    """The tables of a data directory. One query at a time; :meth:`cancel` may be called by another thread.

    Each query finds out anew who holds the folder, so that a sink may start or stop between two of them.

    Args:
        data_dir: of a running or ended demo or replay.
        name: name of the database; a running sink uses its own.
    """

    def __init__(self, data_dir: Path, name: str) -> None:
        self._data_dir = data_dir
        self._name = name
        self._lock = threading.Lock()
        self._end: Callable[[], None] | None = None
        self._cancelled = False

    def ask(self, text: str, output_format: str, parameters: Mapping[str, str] | None = None) -> Iterable[bytes]:
        """Run a query; return the result in parts.

        Args:
            text: the query.
            output_format: ClickHouse format, unless the query names one.
            parameters: values of the ``{name:Type}`` in the query.

        Raises:
            ServiceError: there is no database, or the process that holds it does not answer.
            QueryRefused: ClickHouse refuses the query, or it is not read-only.
            Cancelled: it was cancelled.
        """
        with self._lock:
            self._cancelled = False
        folder = self._found()
        reason = ""
        for _ in range(2):  # the sink may end between the two checks
            try:
                with claim(folder, "database", beside=True):
                    return [self._answer(folder, text, output_format, parameters or {})]
            except InUse as error:
                port, why = sink_port(self._data_dir, error.holder)
                if port is not None:
                    return self._ask_sink(port, text, output_format, parameters or {})
                reason = f"{error}, and no ClickHouse sink answers queries for it: {why}"
        raise ServiceError(reason)

    def cancel(self) -> None:
        """End the query that runs, if any."""
        with self._lock:
            self._cancelled = True
            if self._end is not None:
                self._end()

    def _found(self) -> Path:
        folder = database_folder(self._data_dir)
        try:
            folder.stat()
            found = folder.is_dir()
        except (FileNotFoundError, NotADirectoryError):
            found = False
        except OSError as error:
            raise ServiceError(f"{folder}: {error.strerror or error}") from error
        if not found:
            raise ServiceError(f"{folder}: no database there; run 'alphapulse demo' or 'alphapulse replay' first")
        return folder

    def _running(self, end: Callable[[], None] | None) -> None:
        """Note how the query that now runs is ended (None: none runs any more)."""
        with self._lock:
            if end is not None and self._cancelled:
                raise Cancelled
            self._end = end

    def _answer(self, folder: Path, text: str, output_format: str, parameters: Mapping[str, str]) -> bytes:
        dsn = f"chdb://{folder.resolve()}"
        client = self._opened(folder, dsn)

        def end() -> None:
            other = clickhouse_connect.get_client(dsn=dsn)
            other.command(END_QUERY)
            other.close()

        try:
            restrict(client)
            self._running(end)
            return ask(client, text, output_format, parameters)
        except QueryRefused:
            if self._cancelled:
                raise Cancelled from None
            raise
        finally:
            self._running(None)
            client.close()

    def _opened(self, folder: Path, dsn: str) -> Client:
        try:
            client = clickhouse_connect.get_client(dsn=dsn)
            try:
                there = {str(row[0]) for row in client.query("SHOW DATABASES").result_rows} - _OF_THE_ENGINE
                if self._name in there:
                    client.database = self._name
                    client.command(f"USE `{self._name}`")
                    return client
            except ClickHouseError:
                client.close()
                raise
        except ClickHouseError as error:
            raise ServiceError(f"{folder}: cannot be opened: {message(error)}") from error
        client.close()
        held = f"databases there: {', '.join(sorted(there))}" if there else "there is none"
        raise ServiceError(f"clickhouse.database: no database {self._name!r} in {folder}; {held}")

    def _ask_sink(self, port: int, text: str, output_format: str, parameters: Mapping[str, str]) -> Iterator[bytes]:
        """Send the query to a sink and return the parts of its answer; a refusal is raised at once."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SINK_SECONDS)
        fields = {"format": output_format} | {f"{PARAMETER}{name}": value for name, value in parameters.items()}

        def end() -> None:
            # The sink ends the query of a client that has gone.
            with suppress(OSError):
                if connection.sock is not None:
                    connection.sock.shutdown(socket.SHUT_RDWR)

        try:
            connection.connect()
            self._running(end)
            connection.request("POST", f"/sql?{urllib.parse.urlencode(fields)}", text.encode())
            answer = connection.getresponse()
            refusal = "" if answer.status == http.HTTPStatus.OK else answer.read().decode(errors="replace").strip()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self._running(None)
            if self._cancelled:
                raise Cancelled from None
            raise ServiceError(f"the ClickHouse sink on port {port} does not answer: {error}") from error
        except Cancelled:
            connection.close()
            raise
        if answer.status != http.HTTPStatus.OK:
            connection.close()
            self._running(None)
            raise QueryRefused(refusal)
        return self._parts(connection, answer, port)

    def _parts(
        self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse, port: int
    ) -> Iterator[bytes]:
        try:
            while True:
                # Only the sink's part of the work is within the try: our own reader may disconnect, too.
                try:
                    block = answer.read(1 << 16)
                except (OSError, http.client.HTTPException) as error:
                    if self._cancelled:
                        raise Cancelled from None
                    raise ServiceError(f"the ClickHouse sink on port {port} broke off its answer: {error}") from error
                if not block:
                    return
                yield block
        finally:
            self._running(None)
            connection.close()


def query(
    data_dir: Path, database: str, text: str, output_format: str, parameters: Mapping[str, str] | None = None
) -> Iterable[bytes]:
    """Run a query on the database ``database`` under ``data_dir``; see :meth:`Database.ask`."""
    return Database(data_dir, database).ask(text, output_format, parameters)


def sink_port(data_dir: Path, holder: int) -> tuple[int | None, str]:
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
