"""A ClickHouse server behind TLS, for the sink's engine and the gateway's tables.

The server is chDB behind ClickHouse's HTTP interface (tests/fixtures/clickhouse_server.py), which checks user and
password; the door before it checks certificates.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from alphapulse.config import ClickHouseSettings, Settings
from gateway.tables import TablesUnavailable
from gateway.tables.refusals import REASON
from gateway.tables.server import ServerTables
from sinks.clickhouse.engine import Engine
from tests.fixtures.attempts import CLICKHOUSE, WATCHED_SECONDS, most_attempts
from tests.fixtures.certificates import Authority, Identity
from tests.fixtures.clickhouse_server import ClickHouseServer
from tests.fixtures.door import Door, door
from tests.fixtures.secure_kafka import free_ports

USER, PASSWORD = "writer", "clickhouse-secret"
BOUND_SECONDS = 60.0

CONNECTIONS = 3
"""Of one attempt: a request, and that again after a connection that broke in the handshake."""

# The server is one for all of these tests, so they share a worker.
pytestmark = pytest.mark.xdist_group("clickhouse_tls")


class Server:
    """The server's process; ``password`` is the user's."""

    def __init__(self, folder: Path) -> None:
        (self.port,) = free_ports(1)
        self._users = folder / "users"
        self._users.mkdir()
        self.password = PASSWORD
        self.process = ClickHouseServer(folder / "data", self.port, self._users)

    @property
    def password(self) -> str:
        return self._password

    @password.setter
    def password(self, wanted: str) -> None:
        self._password = wanted
        draft = self._users / "users.new"
        draft.write_text(json.dumps({USER: [wanted, ""]}))
        draft.replace(self._users / "users.json")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("clickhouse-tls"))
    made.process.start()
    yield made
    made.process.kill()


class Secured:
    """The server and the door before it.

    Attributes:
        authority: of its certificate and of its clients'.
        stranger: an authority that it does not know.
    """

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self.server = server
        self.authority, self.stranger = Authority(folder, "authority"), Authority(folder, "stranger")
        self.client = self.authority.issue("desk", password="key-secret")
        self.context = self.authority.issue("clickhouse").server(self.authority)
        self.door: Door

    def no_storm(self, began: float) -> None:
        """Check the attempts since ``began`` (monotonic seconds)."""
        attempts = most_attempts(CLICKHOUSE, time.monotonic() - began)
        assert self.door.connections <= CONNECTIONS * attempts, "a storm"

    def fails_twice(self) -> tuple[ClickHouseSettings, Callable[[], None], Callable[[], None]]:
        """Return settings with an unknown authority and a wrong password, and what mends each."""
        file = self.folder / "authorities.pem"
        file.write_bytes(self.stranger.file.read_bytes())
        self.server.password = "another"

        def authority() -> None:
            file.write_bytes(self.authority.file.read_bytes())

        def password() -> None:
            self.server.password = PASSWORD

        return self.settings(ssl_cafile=file), authority, password

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
async def secured(folder: Path, server: Server) -> AsyncIterator[Secured]:
    server.password = PASSWORD
    made = Secured(folder, server)
    async with door(server.port, made.context) as made.door:
        yield made


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
        self.began = time.monotonic()
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
    secured: Secured,
    tmp_path: Path,
    others: Callable[[Secured], dict[str, Any]],
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = secured.settings(**others(secured))
    async with Opening(settings, tmp_path) as opening:
        message = await opening.until_told(told)
        assert message.startswith("clickhouse.")
        assert "very-wrong" not in message
        assert PASSWORD not in message
    capsys.readouterr()
    tables = ServerTables(settings)
    with pytest.raises(TablesUnavailable) as refused:
        await tables.read("SELECT 1", {})
    await tables.close()
    assert refused.value.reason == REASON
    logged = "".join(capsys.readouterr())
    assert told.strip() in logged
    assert "very-wrong" not in logged
    assert PASSWORD not in logged


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
        secured.no_storm(opening.began)


def renewed(own: Identity, secured: Secured) -> None:
    own.become(secured.authority.issue("desk", file="renewed"))


async def test_a_certificate_instead_of_a_password(secured: Secured) -> None:
    """ClickHouse is told so by headers; this server knows no such users, and its refusal shows that none was sent."""
    tables = ServerTables(secured.settings(password=""))
    with pytest.raises(TablesUnavailable):
        await tables.read("SELECT 1", {})
    assert tables._client is None


async def test_the_sink_waits_until_authority_and_password_are_mended(secured: Secured, tmp_path: Path) -> None:
    settings, mend_authority, mend_password = secured.fails_twice()
    async with Opening(settings, tmp_path) as opening:
        assert (await opening.until_told("(clickhouse.ssl_cafile)")).startswith("clickhouse.dsn: https://127.0.0.1:")
        mend_authority()
        await opening.until_told("clickhouse.username, clickhouse.password: ")
        await asyncio.sleep(WATCHED_SECONDS)
        secured.no_storm(opening.began)
        assert not opening.work.done()
        mend_password()
        await asyncio.wait_for(opening.work, BOUND_SECONDS)
        assert opening.waiting == ""


async def test_the_gateway_waits_until_authority_and_password_are_mended(
    secured: Secured, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, mend_authority, mend_password = secured.fails_twice()
    tables, logged, began = ServerTables(settings), "", time.monotonic()

    async def until_logged(part: str) -> None:
        nonlocal logged
        while part not in logged:
            with pytest.raises(TablesUnavailable) as refused:
                await tables.read("SELECT 1 AS n", {})
            assert refused.value.reason == REASON
            logged += "".join(capsys.readouterr())
            await asyncio.sleep(0.01)

    async with asyncio.timeout(BOUND_SECONDS):
        await until_logged("(clickhouse.ssl_cafile)")
        mend_authority()
        await until_logged("clickhouse.username, clickhouse.password: ClickHouse at ")
        for _ in range(50):  # clients go on asking
            with pytest.raises(TablesUnavailable):
                await tables.read("SELECT 1 AS n", {})
        secured.no_storm(began)
        mend_password()
        while True:
            try:
                found = await tables.read("SELECT 1 AS n", {})
            except TablesUnavailable:
                await asyncio.sleep(0.05)
            else:
                break
    assert found.to_pylist() == [{"n": 1}]
    assert logged.count("reason=") == 2, "each of them once"
    await tables.close()
