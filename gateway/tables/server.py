"""Tables on a ClickHouse server, by ``[clickhouse] dsn``."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

import pyarrow as pa
from clickhouse_connect.driver import create_async_client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, OperationalError

from alphapulse.config import ClickHouseSettings
from gateway.tables.arrow import decoded
from gateway.tables.errors import TablesUnavailable, refusal
from gateway.tables.interface import QUERY_SECONDS, Parameters

_SETTINGS: Final = {
    "readonly": 2,
    "max_execution_time": int(QUERY_SECONDS),
    "max_memory_usage": 1024 * 2**20,
    "cancel_http_readonly_queries_on_client_close": 1,
    "output_format_arrow_string_as_string": 1,
}


class ServerTables:
    """Implements :class:`gateway.tables.Tables`.

    Args:
        settings: ``dsn`` and ``database``.
    """

    def __init__(self, settings: ClickHouseSettings) -> None:
        self._settings = settings
        self._place = re.sub(r"//[^/@]*@", "//", settings.dsn)
        self._client: Any = None
        self._opening = asyncio.Lock()

    async def read(self, query: str, parameters: Parameters) -> pa.Table:
        try:
            async with asyncio.timeout(QUERY_SECONDS):
                client = await self._opened()
                body = await client.raw_query(
                    query, parameters=dict(parameters), settings=dict(_SETTINGS), fmt="ArrowStream"
                )
        except TimeoutError:
            raise TablesUnavailable(f"ClickHouse at {self._place} has not answered for {QUERY_SECONDS:g} s") from None
        except OperationalError as error:
            raise TablesUnavailable(f"ClickHouse at {self._place} does not answer: {_short(error)}") from error
        except DatabaseError as error:
            raise refusal(_short(error)) from error
        except (ClickHouseError, OSError) as error:
            raise TablesUnavailable(f"ClickHouse at {self._place}: {_short(error)}") from error
        return decoded(body)

    async def _opened(self) -> Any:
        async with self._opening:
            if self._client is None:
                # A session would serialize our queries on the server.
                self._client = await create_async_client(
                    dsn=self._settings.dsn, database=self._settings.database, autogenerate_session_id=False
                )
            return self._client

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:500]
