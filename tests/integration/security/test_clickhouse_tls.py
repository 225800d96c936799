"""A ClickHouse server behind TLS, for the sink's engine and the gateway's tables.

The server is chDB behind ClickHouse's HTTP interface (tests/fixtures/clickhouse_server.py), which checks user and
password; the door before it checks certificates.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from alphapulse.config import ClickHouseSettings, Settings
from gateway.tables import TablesUnavailable
from gateway.tables.server import ServerTables
from sinks.clickhouse.engine import Engine
from tests.fixtures.certificates import Authority, Identity
from tests.fixtures.clickhouse_server import ClickHouseServer
from tests.fixtures.door import Door, door
from tests.fixtures.secure_kafka import free_ports

USER, PASSWORD = "writer", "clickhouse-secret"
BOUND_SECONDS = 60.0


class Secured:
    """The server and the door before it.

    Attributes:
        authority: of its certificate and of its clients'.
        stranger: an authority that it does not know.
    """

    def __init__(self, folder: Path) -> None:
        self.authority, self.stranger = Authority(folder, "authority"), Authority(folder, "stranger")
        self.client = self.authority.issue("desk", password="key-secret")
        self.context = self.authority.issue("clickhouse").server(self.authority)
        self.door: Door

    def settings(self, **others: Any) -> ClickHouseSettings:
        values: dict[str, Any] = {
            "dsn": f"https://127.0.0.1:{self.door.port}/",
            "username": USER,
            "password": PASSWORD,
            "ssl_cafile": self.authority.file,
            "ssl_certfile": self.client.certificate,
            "ssl_keyfile": self.client.key,
            "ssl_key_password": "key-secret",
        }
        return ClickHouseSettings(**(values | others))


@pytest.fixture
async def secured(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Secured]:
    monkeypatch.setenv("CLICKHOUSE_USER", USER)
    monkeypatch.setenv("CLICKHOUSE_PASSWORD", PASSWORD)
    (port,) = free_ports(1)
    server = ClickHouseServer(tmp_path / "server", port)
    await asyncio.to_thread(server.start)
    try:
        made = Secured(folder)
        async with door(port, made.context) as made.door:
            yield made
    finally:
        await asyncio.to_thread(server.kill)


class Opening:
    """An engine that opens, and what it waits for."""

    def __init__(self, settings: ClickHouseSettings, data_dir: Path) -> None:
        self.engine = Engine(Settings(data_dir=data_dir, clickhouse=settings))
        self.waiting = ""
        self.reasons: list[str] = []
        self.engine.waiting = self._told
        self.stopping = asyncio.Event()

    def _told(self, reason: str) -> None:
        self.waiting = reason
        self.reasons.append(reason)

    async def until_told(self, part: str) -> str:
        async with asyncio.timeout(BOUND_SECONDS):
            while part not in self.waiting:
                await asyncio.sleep(0.01)
        return self.waiting

    async def __aenter__(self) -> Opening:
        self.work = asyncio.create_task(self.engine.open(self.stopping))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stopping.set()
        await asyncio.wait_for(self.work, BOUND_SECONDS)
        await self.engine.close()


async def test_certificates_and_a_user(secured: Secured, tmp_path: Path) -> None:
    async with Opening(secured.settings(), tmp_path) as opening:
        await asyncio.wait_for(opening.work, BOUND_SECONDS)
        assert await opening.engine.rows("SELECT 1") == [(1,)]
        assert PASSWORD not in opening.engine.place
    tables = ServerTables(secured.settings())
    found = await tables.read("SELECT {n:Int64} AS n", {"n": 7})
    assert found.to_pylist() == [{"n": 7}]
    await tables.close()


async def test_a_user_in_the_address(secured: Secured) -> None:
    dsn = f"https://{USER}:{PASSWORD}@127.0.0.1:{secured.door.port}/"
    tables = ServerTables(secured.settings(dsn=dsn, username="", password="", database="default"))
    assert (await tables.read("SELECT 1 AS n", {})).to_pylist() == [{"n": 1}]
    await tables.close()


@pytest.mark.parametrize(
    ("others", "told"),
    [
        (lambda _: {"password": "very-wrong"}, "clickhouse.username, clickhouse.password: "),
        (lambda s: {"ssl_cafile": s.stranger.file}, "(clickhouse.ssl_cafile)"),
        (lambda _: {"ssl_certfile": None, "ssl_keyfile": None}, "clickhouse.ssl_certfile: "),
        (
            lambda s: {"ssl_certfile": s.stranger.issue("desk", file="x").both, "ssl_keyfile": None},
            "clickhouse.ssl_certfile: ",
        ),
        (lambda _: {"ssl_key_password": "very-wrong"}, "clickhouse.ssl_key_password is missing or wrong"),
    ],
    ids=["password", "authority", "no certificate", "another authority's certificate", "key password"],
)
async def test_what_is_refused_is_waited_for(
    secured: Secured, tmp_path: Path, others: Callable[[Secured], dict[str, Any]], told: str
) -> None:
    settings = secured.settings(**others(secured))
    async with Opening(settings, tmp_path) as opening:
        message = await opening.until_told(told)
        assert message.startswith("clickhouse.")
        assert "very-wrong" not in message
        assert PASSWORD not in message
    tables = ServerTables(settings)
    with pytest.raises(TablesUnavailable):
        await tables.read("SELECT 1", {})
    await tables.close()


async def test_an_expired_certificate_is_mended_without_a_restart(secured: Secured, tmp_path: Path) -> None:
    expired = secured.authority.issue("clickhouse", file="expired", expired=True)
    good = secured.authority.issue("clickhouse", file="good")
    secured.context.load_cert_chain(expired.certificate, expired.key)
    own = secured.authority.issue("desk", file="own", expired=True)
    settings = secured.settings(ssl_certfile=own.both, ssl_keyfile=None, ssl_key_password="")
    async with Opening(settings, tmp_path) as opening:
        assert (await opening.until_told("expired")).endswith("its certificate is refused: certificate has expired")
        secured.context.load_cert_chain(good.certificate, good.key)
        assert "refuses the certificate in" in await opening.until_told("clickhouse.ssl_certfile: ")
        renewed(own, secured)
        await asyncio.wait_for(opening.work, BOUND_SECONDS)
        assert opening.waiting == ""
        assert secured.door.connections < 40, "a storm"


def renewed(own: Identity, secured: Secured) -> None:
    own.become(secured.authority.issue("desk", file="renewed"))


async def test_a_certificate_instead_of_a_password(secured: Secured) -> None:
    """ClickHouse is told so by headers; this server knows no such users, and its refusal shows that none was sent."""
    tables = ServerTables(secured.settings(password=""))
    with pytest.raises(TablesUnavailable):
        await tables.read("SELECT 1", {})
    assert tables._client is None
