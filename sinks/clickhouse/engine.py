"""ClickHouse connection, in process (chDB) or to a server, both through clickhouse-connect.

chDB allows one engine per process and one process per folder. A lock file beside the folder makes a second process fail
with a clear message; the kernel releases it when its holder ends in any way.

All writing statements run in the engine's own thread, so the event loop never waits for a disk.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, Final, Protocol, TypeVar

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, OperationalError
from clickhouse_connect.driver.httputil import get_pool_manager

from alphapulse import clickhouse, logs
from alphapulse.claim import claim
from alphapulse.config import Settings
from alphapulse.config.dsn import place as place_of
from alphapulse.errors import CertificateError, ServiceError
from alphapulse.network import NoConnection, connected

T = TypeVar("T")

_EMBEDDED: Final = {"memory_worker_period_ms": 1000}
"""Options of the embedded engine. By default it checks the process's memory 20 times a second, a third of its CPU time
when idle."""

_CODE: Final = re.compile(r"Code: \d+\. DB::Exception: ")
_NAME_AGAIN: Final = re.compile(r"( \(([A-Z_]+)\))(?: \(version [^)]*\)\.? ?\(\2\))+$")
"""`` (SYNTAX_ERROR) (version 26.9.2.1). (SYNTAX_ERROR)``"""

_TRANSIENT: Final = frozenset(
    {
        159,  # TIMEOUT_EXCEEDED
        202,  # TOO_MANY_SIMULTANEOUS_QUERIES
        203,  # NO_FREE_CONNECTION
        209,  # SOCKET_TIMEOUT
        210,  # NETWORK_ERROR
        236,  # ABORTED: the server is shutting down
        241,  # MEMORY_LIMIT_EXCEEDED
        242,  # TABLE_IS_READ_ONLY
        243,  # NOT_ENOUGH_SPACE
        252,  # TOO_MANY_PARTS: merges are behind
        285,  # TOO_FEW_LIVE_REPLICAS
        319,  # UNKNOWN_STATUS_OF_INSERT
        394,  # QUERY_WAS_CANCELLED
        425,  # SYSTEM_ERROR
        999,  # KEEPER_EXCEPTION
    }
)
"""ClickHouse error codes that are temporary, or end when a person frees memory or space."""

RETRY_SECONDS: Final = (0.2, 0.5, 1.0, 2.0)
"""Delays between attempts; the last one is repeated."""

REFUSED_RETRY_SECONDS: Final = (0.5, 1.0, 2.0, 5.0, 10.0)
"""The same while the server refuses access: each attempt is a failed login, which it logs."""

TELL_SECONDS: Final = 60.0
"""Interval of log messages during retries."""


UNKNOWN_TABLE: Final = 60
NO_SUCH_COLUMN: Final = 16


class Unreachable(Exception):
    """The engine cannot do it now; a retry may help. The message says why.

    ``refused``: access is refused; the message names the key and is complete.
    """

    def __init__(self, reason: str, *, refused: bool = False) -> None:
        self.refused = refused
        super().__init__(reason)


class StatementRefused(ServiceError):
    """ClickHouse refuses a statement; ``code`` is ClickHouse's number of the error, None where it has none."""

    def __init__(self, text: str, code: int | None) -> None:
        self.code = code
        super().__init__(text)


class RowSource(Protocol):
    """Whatever answers queries."""

    async def rows(self, query: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        """Return the rows of a query.

        Raises:
            Unreachable: not now.
            ServiceError: it is refused.
        """


def database_folder(data_dir: Path) -> Path:
    """Return the data folder of the embedded engine."""
    return data_dir / "clickhouse"


class Engine:
    """A sink's connection to its ClickHouse.

    Args:
        settings: ``clickhouse.dsn`` (empty: embedded under ``data_dir/clickhouse``) and ``clickhouse.database``.

    Attributes:
        embedded: whether it is chDB in this process.
        folder: of the embedded database; None: a server.
        place: folder or address, for messages; without password.
        waiting: called with the reason when ClickHouse cannot be used, and with an empty text when it can again.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.clickhouse
        self._dsn = settings.clickhouse.dsn
        self.database = settings.clickhouse.database
        self.embedded = settings.clickhouse.embedded
        self.folder = self._embedded_folder(settings) if self.embedded else None
        self.place = str(self.folder) if self.folder is not None else re.sub(r"//[^/@]*@", "//", self._dsn)
        self.waiting: Callable[[str], None] = lambda _: None
        self._log = logs.get("clickhouse")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="clickhouse")
        self._client: Client | None = None
        self._lock: IO[str] | None = None

    def _embedded_folder(self, settings: Settings) -> Path:
        named = self._dsn.removeprefix("chdb:").removeprefix("//")
        return Path(named) if named else database_folder(settings.data_dir)

    async def open(self, stopping: asyncio.Event) -> None:
        """Connect and create the database. Retries a server that does not answer until ``stopping`` is set.

        Raises:
            ServiceError: the folder is in use or not writable, or the server refuses access.
        """
        await self.retry(lambda: self._in_thread(self._connect), stopping)

    async def retry(self, attempt: Callable[[], Any], give_up: asyncio.Event) -> bool:
        """Repeat ``attempt()`` until it succeeds (True) or ``give_up`` is set (False).

        Raises:
            ServiceError: from ``attempt``.
        """
        what = f"ClickHouse at {self.place}"
        failures, told = 0, -math.inf
        while True:
            try:
                await attempt()
            except Unreachable as error:
                reason = str(error) if error.refused else await self._why(error)
                delays = REFUSED_RETRY_SECONDS if error.refused else RETRY_SECONDS
                self.waiting(reason)
                if error.refused and give_up.is_set():
                    return False  # a command that waits for nothing tells the reason itself
                if (now := time.monotonic()) - told >= TELL_SECONDS:
                    self._log.warning(f"{what} does not answer; retrying", attempt=failures + 1, reason=reason)
                    told = now
                wait = delays[min(failures, len(delays) - 1)]
                failures += 1
                try:
                    await asyncio.wait_for(give_up.wait(), wait)
                except TimeoutError:
                    continue
                return False
            if failures:
                self.waiting("")
                self._log.info(f"{what} answers again", failures=failures)
            return True

    async def _why(self, error: Unreachable) -> str:
        """Return a plain reason why the server cannot be used; the client's own text is long and varies."""
        told = f"clickhouse.dsn: {self.place}"
        if self.embedded:
            return f"{told} cannot be used now: {error}"
        try:
            host, port = place_of(self._dsn)
            async with connected(host, port, clickhouse.tls_context(self._settings)):
                return f"{told} cannot be used now: {error}"
        except NoConnection as reason:
            return f"{told} does not answer: {reason}"

    def _connect(self) -> None:
        if self.folder is None:
            self._client = self._open_server()
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ServiceError(f"data_dir: cannot write {self.folder}: {error.strerror or error}") from error
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise ServiceError(f"data_dir: cannot write {self.folder}: Permission denied")
        if self._lock is None:
            self._lock = claim(self.folder, "database", beside=True)
        first = self._embedded_client(None)
        first.command(f"CREATE DATABASE IF NOT EXISTS `{self.database}`")
        self._client = self.another_client()
        first.close()

    def _open_server(self) -> Client:
        try:
            tls = clickhouse.tls_context(self._settings)
        except CertificateError as error:
            raise Unreachable(str(error), refused=True) from error
        # A session would serialize our requests on the server needlessly: statements do not depend on each other.
        arguments = clickhouse.login(self._settings) | {"autogenerate_session_id": False}
        if tls is not None:
            arguments["pool_mgr"] = get_pool_manager(ssl_context=tls)
        first = clickhouse_connect.get_client(**arguments)
        try:
            # A user who may only write has no right to create it, not even if it exists.
            if not int(str(first.command(f"EXISTS DATABASE `{self.database}`", use_database=False))):
                first.command(f"CREATE DATABASE IF NOT EXISTS `{self.database}`", use_database=False)
        finally:
            first.close()
        return clickhouse_connect.get_client(**arguments, database=self.database)

    async def command(self, statement: str) -> None:
        """Run a statement without a result.

        Raises:
            Unreachable: not now.
            ServiceError: ClickHouse refuses it.
        """
        await self._in_thread(lambda: self._opened().command(statement))

    async def rows(self, query: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of a query.

        Raises:
            Unreachable: not now.
            ServiceError: ClickHouse refuses it.
        """
        found = await self._in_thread(lambda: self._opened().query(query, parameters=dict(parameters or {})))
        return [tuple(row) for row in found.result_rows]

    async def insert(self, table: str, rows: pa.Table, settings: Mapping[str, Any]) -> None:
        """Insert ``rows`` in one block.

        Raises:
            Unreachable: not now; the rows may have been inserted or not.
            ServiceError: ClickHouse refuses them.
        """
        await self._in_thread(lambda: self._opened().insert_arrow(table, rows, settings=dict(settings)))

    def another_client(self) -> Client:
        """Return another client of the embedded engine, with its own session (blocking)."""
        return self._embedded_client(self.database)

    def _embedded_client(self, database: str | None) -> Client:
        if self.folder is None:
            raise RuntimeError("further clients are only available for the embedded engine")
        dsn = f"chdb://{self.folder.resolve()}"
        return clickhouse_connect.get_client(dsn=dsn, database=database, chdb_options=_EMBEDDED)

    async def close(self) -> None:
        """Close the connection; the embedded engine stops."""
        if self._client is not None:
            await self._in_thread(self._client.close)
            self._client = None
        self._thread.shutdown(wait=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _opened(self) -> Client:
        if self._client is None:
            raise RuntimeError("the engine is not open")
        return self._client

    def _renew(self) -> None:
        """Replace the embedded engine's session.

        A query that fails after it has returned rows leaves them in its session, and the next query there returns them
        before its own (chDB 26.9; test_engine.py shows it).
        """
        if self.folder is not None and self._client is not None:
            spoilt, self._client = self._client, self.another_client()
            spoilt.close()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        def guarded() -> T:
            try:
                return work()
            except ClickHouseError:
                self._renew()
                raise

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)
        except DatabaseError as error:
            reason = message(error)
            refused = None if self.embedded else clickhouse.refusal_in(self._settings, self.place, error)
            if refused is not None:
                raise Unreachable(refused, refused=True) from error
            if error.code in _TRANSIENT or (error.code is None and isinstance(error, OperationalError)):
                raise Unreachable(reason) from error
            raise StatementRefused(f"ClickHouse at {self.place} refuses: {reason}", error.code) from error
        except ClickHouseError as error:
            raise ServiceError(f"ClickHouse at {self.place}: {message(error)}") from error


def message(error: Exception) -> str:
    """Return ClickHouse's error message on one line of bounded length.

    Each layer of the client repeats code and name around the message of the layer below.
    """
    text = " ".join(str(error).split())
    while (repeated := _CODE.match(text)) is not None and text.startswith(repeated[0], repeated.end()):
        text = text[repeated.end() :]
    return _NAME_AGAIN.sub(r"\1", text)[:500]
