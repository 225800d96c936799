from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvloop
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.admin import ApiVersionRequest

from alphapulse.config import KafkaSettings
from alphapulse.kafka import closed


async def connect(settings: KafkaSettings) -> Any:
    host, _, port = settings.bootstrap.partition(":")
    return await create_conn(host, int(port))


def test_a_request_on_a_connection_just_closed_fails_as_on_a_broken_one(kafka: KafkaSettings) -> None:
    async def main() -> None:
        connection = await connect(kafka)
        assert (await connection.send(ApiVersionRequest())).api_versions
        connection._writer.transport.abort()
        await asyncio.sleep(0)  # The transport is closed; aiokafka's reader, who would find out, has its turn after us.
        with pytest.raises(KafkaConnectionError, match=r"broken: .*the handler is closed"):
            await connection.send(ApiVersionRequest())
        assert not connection.connected()
        with pytest.raises(KafkaConnectionError, match="No connection"):
            await connection.send(ApiVersionRequest())

    uvloop.run(main())


def test_any_other_fault_is_one(kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        connection = await connect(kafka)

        def broken(_: bytes) -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr(connection._writer, "write", broken)
        with pytest.raises(RuntimeError, match="a bug"):
            await connection.send(ApiVersionRequest())
        assert connection.connected()
        await connection.close()

    uvloop.run(main())


def test_it_is_in_place_once() -> None:
    found = AIOKafkaConnection.send
    closed.install()
    assert AIOKafkaConnection.send is found
    assert not hasattr(found.__wrapped__, "__wrapped__")
