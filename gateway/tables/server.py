"""Tables on a ClickHouse server, by ``[clickhouse] dsn``."""

from __future__ import annotations

import asyncio
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from clickhouse_connect.driver import create_async_client
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, OperationalError

from alphapulse import clickhouse
from alphapulse.config import ClickHouseSettings
from alphapulse.config.dsn import place
from alphapulse.config.faults import without_password
from alphapulse.errors import CertificateError, RequestRefused
from gateway.tables.arrow import decoded
from gateway.tables.errors import FailureLog, TablesUnavailable, refusal
from gateway.tables.interface import QUERY_SECONDS, Parameters
from gateway.tables.refusals import REASON, RefusedAccess

_SETTINGS: Final = {
    "readonly": 2,
    "max_execution_time": int(QUERY_SECONDS),
    "max_memory_usage": 1024 * 2**20,
    "cancel_http_readonly_queries_on_client_close": 1,
    "output_format_arrow_string_as_string": 1,
}


class ServerTables:
    """Implements :class:`gateway.tables.Tables`.

    A refused access (password, certificate, right) is logged with the key to look at, and tried again rarely; queries
    in between are refused at once. As soon as it is mended the next attempt answers.

    Args:
        settings: ``dsn``, login and ``database``.
    """

    def __init__(self, settings: ClickHouseSettings) -> None:
        self._settings = settings
        self._place = place_of(settings.dsn)
        self._secrets = (*secrets_of(settings.dsn), *filter(None, [settings.password.get_secret_value()]))
        self._failures = FailureLog()
        self._refused = RefusedAccess()
        self._client: Any = None
        self._opening = asyncio.Lock()

    async def read(self, query: str, parameters: Parameters) -> pa.Table:
        try:
            async with asyncio.timeout(QUERY_SECONDS):
                client = await self._opened(query)
                body = await client.raw_query(
                    query, parameters=dict(parameters), settings=dict(_SETTINGS), fmt="ArrowStream"
                )
        except TimeoutError:
            self._failures.failed(self._place, f"no answer for {QUERY_SECONDS:g} s")
            raise TablesUnavailable(f"ClickHouse has not answered for {QUERY_SECONDS:g} s") from None
        except (ClickHouseError, OSError, CertificateError) as error:
            raise self._failed(query, error) from error
        self._failures.answered()
        self._refused.answered(query)
        return decoded(body)

    def _failed(self, query: str, error: Exception) -> RequestRefused:
        """Log ``error``; return what clients are told."""
        told = clickhouse.refusal_in(self._settings, self._place, error)
        self._failures.failed(self._place, self._shown(str(error) if told is None else told))
        if told is not None:
            lacks_right = isinstance(error, DatabaseError) and error.code == clickhouse.NO_RIGHT
            self._refused.refused(query if lacks_right else None)
            return TablesUnavailable(REASON)
        if isinstance(error, DatabaseError) and not isinstance(error, OperationalError):
            return refusal(str(error))
        return TablesUnavailable("ClickHouse does not answer")

    def _shown(self, text: str) -> str:
        """Return ``text`` for the log, without credentials."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return " ".join(without_password(text).split())[:500]

    async def _opened(self, query: str) -> Any:
        async with self._opening:
            self._refused.check(query)
            if self._client is None:
                try:
                    self._client = await self._made()
                except (ValueError, TypeError):
                    # Its text may quote the address with a part of the password.
                    self._failures.failed(self._place, "[clickhouse] dsn: not a usable address")
                    raise TablesUnavailable("ClickHouse's address is not valid") from None
            return self._client

    async def _made(self) -> Any:
        settings = self._settings
        arguments = clickhouse.login(settings)
        tls = clickhouse.tls_context(settings)
        if tls is None:
            # A session would serialize our queries on the server.
            return await create_async_client(**arguments, database=settings.database, autogenerate_session_id=False)
        address = urlsplit(arguments.pop("dsn"))
        host, port = place(settings.dsn)
        credentials = {"username": unquote(address.username or ""), "password": unquote(address.password or "")}
        client = AsyncClient(
            host=host, port=port, database=settings.database, autogenerate_session_id=False, **credentials | arguments
        )
        # It takes names of files only, reads them once, and asks for the password of a key on the terminal.
        backend = client._backend  # noqa: SLF001
        backend.ssl_context = backend.connector_kwargs["ssl"] = tls
        await client._initialize()  # noqa: SLF001 as create_async_client does
        return client

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None


def place_of(dsn: str) -> str:
    """Return host and port of ``dsn`` without anything that may be a credential."""
    unnamed = "the server of [clickhouse] dsn"
    try:
        parts = urlsplit(dsn)
        host, port = parts.hostname, parts.port
    except ValueError:
        return unnamed
    if host is None or "@" in dsn.removeprefix(f"{parts.scheme}://{parts.netloc}"):
        return unnamed  # a "/" in the password: what looks like the host is the user
    return host if port is None else f"{host}:{port}"


def secrets_of(dsn: str) -> tuple[str, ...]:
    """Return the password of ``dsn`` as it is written and as it is sent; empty: it has none."""
    user, at, _ = dsn.partition("://")[2].rpartition("@")
    password = user.partition(":")[2] if at else ""
    return tuple(dict.fromkeys(text for text in (password, unquote(password)) if text))
