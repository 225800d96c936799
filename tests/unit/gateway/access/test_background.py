from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from alphapulse.config import AccessSettings, GatewaySettings, Settings
from alphapulse.errors import ServiceError
from gateway.access.audit import Audit
from gateway.access.background import GateKeeper, KeyFileFollower
from gateway.access.errors import AccessRefused
from gateway.access.gate import Gate
from gateway.access.keys import NO_KEYS, keys_path, read, write
from schemas.records import Event
from tests.fixtures.issuer import AUDIENCE, ISSUER, SECRET, ec, key_set_server, rsa, token


def settings(folder: Path, **access: Any) -> Settings:
    chosen = AccessSettings(**{"mode": "required"} | access)
    return Settings(data_dir=folder, gateway=GatewaySettings(access=chosen))


@asynccontextmanager
async def running(folder: Path, **access: Any) -> AsyncIterator[tuple[Gate, list[Event]]]:
    events: list[Event] = []
    keeper = GateKeeper(settings(folder, **access), "gateway", time.time_ns, events.append)
    watching = asyncio.create_task(keeper.watch())
    try:
        yield keeper.gate, events
    finally:
        watching.cancel()
        await asyncio.wait({watching})


async def test_keys_of_the_file_are_in_force_from_the_start(tmp_path: Path) -> None:
    path = keys_path(settings(tmp_path))
    path.parent.mkdir()
    keys, text = NO_KEYS.created("desk-1", ["rest:market"], 1)
    write(path, keys)
    async with running(tmp_path) as (gate, _):
        assert gate.identify(text, "127.0.0.1").name == "desk-1"


async def test_a_file_that_cannot_be_used_ends_the_start(tmp_path: Path) -> None:
    path = keys_path(settings(tmp_path))
    path.parent.mkdir()
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ServiceError, match=r"keys\.json"):
        async with running(tmp_path):
            pass


async def test_a_public_key_that_is_not_there_ends_the_start(tmp_path: Path) -> None:
    given = {"issuer": ISSUER, "audience": AUDIENCE, "public_key_path": tmp_path / "no.pem"}
    with pytest.raises(ServiceError, match=r"gateway\.access\.public_key_path: .*no\.pem: No such file"):
        async with running(tmp_path, **given):
            pass


async def test_every_kind_of_signing_key_is_read(tmp_path: Path) -> None:
    pem = tmp_path / "issuer.pem"
    pem.write_bytes(rsa().as_pem(private=False))
    async with key_set_server() as server:
        server.keys = [ec()]
        async with running(
            tmp_path, issuer=ISSUER, audience=AUDIENCE, secret=SECRET, public_key_path=pem, jwks_url=server.url
        ) as (gate, _):
            for key in (SECRET, rsa(), ec()):
                assert (await gate.arrive(token(key), "127.0.0.1")).name == "desk-1"


async def test_rotation_of_the_issuers_keys_locks_nobody_out(tmp_path: Path) -> None:
    async with key_set_server() as server:
        server.keys = [rsa(0)]
        async with running(tmp_path, issuer=ISSUER, audience=AUDIENCE, jwks_url=server.url) as (gate, _):
            old = token(rsa(0))
            assert await gate.arrive(old, "127.0.0.1")
            server.keys = [rsa(0), rsa(1)]
            assert await gate.arrive(token(rsa(1)), "127.0.0.1")
            server.state = "down"
            assert await gate.arrive(old, "127.0.0.1")


def follower(path: Path) -> tuple[KeyFileFollower, Gate, list[Event]]:
    events: list[Event] = []
    audit = Audit("gateway", clock=lambda: 5, now=lambda: 0.0, publish=events.append)
    gate = Gate(AccessSettings(mode="required"), audit, clock=lambda: 5)
    return KeyFileFollower(path, gate, audit), gate, events


def test_changes_of_the_file_are_followed_and_audited(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    following, gate, events = follower(path)
    following.load()
    following.look()
    keys, text = NO_KEYS.created("desk-1", ["rest:market"], 1)
    write(path, keys)
    following.look()
    desk = gate.identify(text, "127.0.0.1")
    write(path, read(path).revoked("desk-1", 2))
    following.look()
    with pytest.raises(AccessRefused, match="revoked"):
        gate.check(desk)
    told = [(event.kind, event.details["identity"]) for event in events]
    assert told == [("access_key_created", "desk-1"), ("access_granted", "desk-1"), ("access_key_revoked", "desk-1")]
    assert "rest:market" in events[0].message


def test_a_broken_file_changes_nothing_and_a_missing_one_has_no_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys, text = NO_KEYS.created("desk-1", ["rest:market"], 1)
    write(path, keys)
    following, gate, events = follower(path)
    following.load()
    path.write_text("{", encoding="utf-8")
    following.look()
    assert gate.identify(text, "127.0.0.1").name == "desk-1"
    assert (events[0].kind, events[0].severity) == ("access_keys_refused", "ERROR")
    path.unlink()
    following.look()
    with pytest.raises(AccessRefused):
        gate.identify(text, "127.0.0.1")
    assert events[-2].kind == "access_key_revoked"


async def test_the_file_is_looked_at_in_the_background(tmp_path: Path) -> None:
    async with running(tmp_path) as (gate, _):
        path = keys_path(settings(tmp_path))
        path.parent.mkdir()
        keys, text = NO_KEYS.created("desk-1", ["rest:market"], 1)
        write(path, keys)
        async with asyncio.timeout(30):
            while gate.keys.find(text) is None:
                await asyncio.sleep(0.02)
