"""Waiting for the schema registry."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from alphapulse.config import OpsSettings, RegistrySettings, Settings
from alphapulse.service import Service
from schemas.definitions import definitions
from schemas.waiting import prepared_codec
from tests.fixtures.records import TRADE
from tests.fixtures.schema_registry import registry_server


def service_with(tmp_path: Path, url: str | None) -> Service:
    return Service("waiter", Settings(data_dir=tmp_path, ops=OpsSettings(), registry=RegistrySettings(url=url)))


async def test_without_a_registry_there_is_nothing_to_wait_for(tmp_path: Path) -> None:
    codec = await prepared_codec(service_with(tmp_path, None))
    assert codec.decode(codec.encode(TRADE)) == TRADE


async def test_a_registry_that_comes_later(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://desk:secret@127.0.0.1:{port}"
    service = service_with(tmp_path, url)
    work = asyncio.create_task(prepared_codec(service))
    async with asyncio.timeout(20):
        while not service.waiting:
            await asyncio.sleep(0.01)
        told = f"registry.url: http://***@127.0.0.1:{port} does not answer: connection refused"
        assert service.waiting == told
        with registry_server(port) as server:
            codec = await work
            assert len(server.schemas) == len(definitions())
    assert codec.decode(codec.encode(TRADE)) == TRADE


async def test_one_that_has_not_started_yet_is_waited_for(tmp_path: Path) -> None:
    with registry_server() as server:
        server.failing = (503, b'{"error_code": 50301, "message": "starting"}')
        service = service_with(tmp_path, server.url)
        work = asyncio.create_task(prepared_codec(service))
        async with asyncio.timeout(20):
            while not service.waiting:
                await asyncio.sleep(0.01)
            assert "HTTP 503" in service.waiting
            server.failing = None
            await work
