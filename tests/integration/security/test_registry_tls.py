"""The schema registry behind TLS: authorities, client certificates, users; what is refused, and how it is mended.

A registry of ours answers for most, Apicurio (as in tests/integration/schemas) for all records of ours.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from alphapulse.config import RegistrySettings, Settings
from alphapulse.errors import RegistryRefused
from schemas.codec import Codec
from schemas.remote import registry
from schemas.waiting import prepared_codec
from tests.fixtures.attempts import KAFKA, WATCHED_SECONDS, most_attempts
from tests.fixtures.certificates import Authority, Identity
from tests.fixtures.door import Door, door
from tests.fixtures.records import FULL
from tests.fixtures.schema_registry import RegistryServer, registry_server
from tests.integration.schemas.test_registry import apicurio  # noqa: F401 a fixture

PASSWORD = "registry-secret"

CONNECTIONS = 3
"""Of one attempt: a look at the port, a request, and that again after a failed handshake."""


class Secured:
    """A registry behind a door that wants a client certificate.

    Attributes:
        authority: of its certificate and of its clients'.
        stranger: an authority that it does not know.
        own: its certificate.
    """

    def __init__(self, folder: Path, server: RegistryServer) -> None:
        self.authority, self.stranger = Authority(folder, "authority"), Authority(folder, "stranger")
        self.own = self.authority.issue("registry")
        self.client = self.authority.issue("desk")
        self.server = server
        server.password = base64.b64encode(f"desk:{PASSWORD}".encode()).decode()
        self.context = self.own.server(self.authority)
        self.door: Door

    def present(self, identity: Identity) -> None:
        """Let new connections see another certificate."""
        self.context.load_cert_chain(identity.certificate, identity.key)

    async def no_storm(self, began: float) -> None:
        """Watch for a while; check the attempts since ``began`` (monotonic seconds), all of them refused."""
        before = self.door.connections
        await asyncio.sleep(WATCHED_SECONDS)
        assert self.door.connections > before, "it does not try again"
        attempts = most_attempts(KAFKA, time.monotonic() - began)
        assert self.door.connections <= CONNECTIONS * attempts, "a storm"

    def settings(self, **others: Any) -> RegistrySettings:
        values: dict[str, Any] = {
            "url": f"https://127.0.0.1:{self.door.port}",
            "username": "desk",
            "password": PASSWORD,
            "ssl_cafile": self.authority.file,
            "ssl_certfile": self.client.certificate,
            "ssl_keyfile": self.client.key,
        }
        return RegistrySettings(**(values | others))


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with registry_server() as running:
        yield running


@pytest.fixture
async def secured(folder: Path, server: RegistryServer) -> AsyncIterator[Secured]:
    made = Secured(folder, server)
    async with door(server.server_address[1], made.context) as made.door:
        yield made


async def refused(settings: RegistrySettings) -> str:
    with pytest.raises(RegistryRefused) as caught:
        await asyncio.to_thread(Codec(registry(settings)).prepare)
    return str(caught.value)


async def test_certificates_and_a_user(secured: Secured) -> None:
    writer, reader = (Codec(registry(secured.settings())) for _ in range(2))
    await asyncio.to_thread(writer.prepare)
    for record in FULL[:3]:
        assert await asyncio.to_thread(reader.decode, writer.encode(record)) == record
    locked = secured.authority.issue("desk", file="locked", password="key-secret")
    settings = secured.settings(ssl_certfile=locked.certificate, ssl_keyfile=locked.key, ssl_key_password="key-secret")
    await asyncio.to_thread(Codec(registry(settings)).prepare)


async def test_a_wrong_password(secured: Secured) -> None:
    message = await refused(secured.settings(password="very-wrong"))
    assert message.startswith("registry.username, registry.password: registry https://127.0.0.1:")
    assert message.endswith("refused: Unauthorized (HTTP 401, code 40101)")
    assert "very-wrong" not in message


async def test_an_unknown_authority(secured: Secured) -> None:
    message = await refused(secured.settings(ssl_cafile=secured.stranger.file))
    assert message.startswith(f"registry.url: registry https://127.0.0.1:{secured.door.port}: subject ")
    assert ": its certificate is refused: " in message
    assert message.endswith(" (registry.ssl_cafile)")


async def test_an_expired_certificate(secured: Secured) -> None:
    secured.present(secured.authority.issue("registry", file="expired", expired=True))
    message = await refused(secured.settings())
    assert message.startswith(f"registry.url: registry https://127.0.0.1:{secured.door.port}: subject ")
    assert message.endswith(": its certificate is refused: certificate has expired")


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda secured: None, "it wants a client certificate ("),
        (lambda secured: secured.stranger.issue("desk", file="other"), "it refuses the certificate in "),
        (lambda secured: secured.authority.issue("desk", file="old", expired=True), "it refuses the certificate in "),
    ],
)
async def test_a_wrong_client_certificate(
    secured: Secured, made: Callable[[Secured], Identity | None], told: str
) -> None:
    identity = made(secured)
    file = identity.both if identity is not None else None
    message = await refused(secured.settings(ssl_certfile=file, ssl_keyfile=None))
    assert message.startswith("registry.ssl_certfile: registry https://127.0.0.1:")
    assert told in message


async def test_a_file_that_is_not_there(secured: Secured, folder: Path) -> None:
    message = await refused(secured.settings(ssl_cafile=folder / "none.pem"))
    assert message.startswith(f"registry.ssl_cafile: {folder / 'none.pem'}: ")


async def test_a_service_comes_up_when_it_is_mended(secured: Secured, waiting_service: Any, tmp_path: Path) -> None:
    old = secured.authority.issue("desk", file="renewed", expired=True)
    found = secured.settings(ssl_certfile=old.both, ssl_keyfile=None)
    secured.server.password = "another"
    async with waiting_service(Settings(data_dir=tmp_path, registry=found), prepared_codec) as waiter:
        began = time.monotonic()
        await waiter.until_told("registry.ssl_certfile: ")
        old.become(secured.authority.issue("desk", file="next"))
        await waiter.until_told("registry.password: ")
        await secured.no_storm(began)
        secured.server.password = base64.b64encode(f"desk:{PASSWORD}".encode()).decode()
        assert isinstance(await waiter.until_up(), Codec)


async def test_its_authority_and_its_certificate_are_mended(
    secured: Secured, waiting_service: Any, tmp_path: Path, folder: Path
) -> None:
    file = folder / "authorities.pem"
    file.write_bytes(secured.stranger.file.read_bytes())
    secured.present(secured.authority.issue("registry", file="expired", expired=True))
    found = secured.settings(ssl_cafile=file)
    async with waiting_service(Settings(data_dir=tmp_path, registry=found), prepared_codec) as waiter:
        began = time.monotonic()
        await waiter.until_told("(registry.ssl_cafile)")
        file.write_bytes(secured.authority.file.read_bytes())
        await waiter.until_told("certificate has expired")
        await secured.no_storm(began)
        assert waiter.service.waiting.startswith("registry.url: ")
        secured.present(secured.own)
        assert isinstance(await waiter.until_up(), Codec)
        assert waiter.service.waiting == ""


@pytest.mark.apicurio
async def test_apicurio_behind_tls(folder: Path, apicurio: str) -> None:  # noqa: F811
    authority = Authority(folder, "authority")
    client = authority.issue("desk")
    parts = urlsplit(apicurio)
    assert parts.port is not None
    async with door(parts.port, authority.issue("registry").server(authority)) as entrance:
        settings = RegistrySettings(
            url=f"https://127.0.0.1:{entrance.port}{parts.path}",
            ssl_cafile=authority.file,
            ssl_certfile=client.both,
        )
        writer, reader = (Codec(registry(settings)) for _ in range(2))
        await asyncio.to_thread(writer.prepare)
        for record in FULL:
            assert await asyncio.to_thread(reader.decode, writer.encode(record)) == record
        assert entrance.connections > 0
