"""Files that a process reads once: a change that can be used ends the watch, another does not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from alphapulse import secret_watch
from alphapulse.config import KafkaSettings, Settings
from alphapulse.errors import ConfigError
from tests.fixtures.certificates import Authority, Identity

POLL = 0.01


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "password"
    file.write_text("old")
    monkeypatch.setenv("ALPHAPULSE_KAFKA__SASL_PASSWORD_FILE", str(file))
    return file


def change(file: Path, text: str) -> None:
    """Write a file; another length shows even where the clock of the file system is coarse."""
    file.write_text(text)


class Watch:
    """A watch at work, and how often the configuration was read."""

    def __init__(self, settings: Settings, *, certificates: bool = True, valid: bool = True) -> None:
        self.settings, self.valid, self.reads = settings, valid, 0
        self.task = asyncio.create_task(
            secret_watch.changed(settings, self._read, lambda: certificates, poll_seconds=POLL)
        )

    def _read(self) -> Settings:
        self.reads += 1
        if not self.valid:
            raise ConfigError(["invalid"])
        return self.settings

    async def ended(self) -> list[Path]:
        return await asyncio.wait_for(self.task, 20)

    async def goes_on(self) -> None:
        """Return after some looks in which it did not end."""
        for _ in range(5):
            await asyncio.sleep(POLL)
        assert not self.task.done()

    async def until_read(self, times: int) -> None:
        async with asyncio.timeout(20):
            while self.reads < times:
                await asyncio.sleep(POLL)


async def test_a_changed_secret(secret: Path) -> None:
    watch = Watch(Settings())
    await watch.goes_on()
    change(secret, "new, and longer")
    assert await watch.ended() == [secret]


async def test_a_secret_that_kubernetes_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A volume's files are links through ``..data``, which is replaced as a whole; length and name stay."""
    for version in ("..1", "..2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "password").write_text(f"secret{version}")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "password").symlink_to("..data/password")
    monkeypatch.setenv("ALPHAPULSE_KAFKA__SASL_PASSWORD_FILE", str(tmp_path / "password"))
    watch = Watch(Settings())
    await watch.goes_on()
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert await watch.ended() == [tmp_path / "password"]


async def test_an_invalid_configuration_is_not_used(secret: Path) -> None:
    watch = Watch(Settings(), valid=False)
    await asyncio.sleep(2 * POLL)
    change(secret, "new, and longer")
    await watch.until_read(1)
    await watch.goes_on()
    assert watch.reads == 1, "once for each change"
    watch.valid = True
    change(secret, "newer, and longer still")
    assert await watch.ended() == [secret]


def tls(own: Identity, authority: Authority) -> Settings:
    return Settings(kafka=KafkaSettings(security_protocol="SSL", ssl_cafile=authority.file, ssl_certfile=own.both))


async def test_a_changed_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    own = authority.issue("own")
    watch = Watch(tls(own, authority))
    await asyncio.sleep(2 * POLL)
    change(own.both, "half of it")
    await watch.until_read(1)
    await watch.goes_on()
    own.become(authority.issue("next"))
    assert await watch.ended() == [own.both]


async def test_certificates_are_left_to_clients_that_read_them_again(tmp_path: Path, secret: Path) -> None:
    authority = Authority(tmp_path, "authority")
    own = authority.issue("own")
    watch = Watch(tls(own, authority), certificates=False)
    await asyncio.sleep(2 * POLL)
    own.become(authority.issue("next"))
    await watch.goes_on()
    assert watch.reads == 0
    change(secret, "new, and longer")
    assert await watch.ended() == [secret]


@pytest.mark.parametrize(("protocol", "files"), [("PLAINTEXT", 0), ("SSL", 2), ("SASL_SSL", 2)])
def test_which_certificates_are_followed(tmp_path: Path, protocol: Any, files: int) -> None:
    named = KafkaSettings(security_protocol=protocol, ssl_cafile=tmp_path / "a", ssl_certfile=tmp_path / "b")
    assert len(secret_watch.certificate_files(Settings(kafka=named))) == files
