"""Who gets in and what they see: a gateway of its own process, an identity provider and an attacker on loopback."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from aiokafka import AIOKafkaConsumer
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from alphapulse import topics
from alphapulse.config import AccessSettings, KafkaSettings, LogSettings
from alphapulse.kafka import connection, running
from alphapulse.service import EXIT_OK, EXIT_REFUSED
from gateway.access import keys as key_file
from gateway.access.keys import NO_KEYS
from gateway.access.limits import FREE_FAILURES
from schemas.codec import Codec
from schemas.records import Event
from tests.conftest import ROOT
from tests.fixtures import market
from tests.fixtures.issuer import AUDIENCE, ISSUER, KeySetServer, ec, forged, key_set_server, rsa, token
from tests.integration.gateway.conftest import BOUND, Client, Feed, GatewayProcess, eventually, running_gateway

BOOK: Final = {"op": "subscribe", "id": 1, "channel": "book", "venue": "kraken", "symbol": "BTC-USD"}
MARKET: Final = "/api/v1/exchanges"


@dataclass
class Site:
    """A gateway that requires credentials, and its identity provider.

    Each attempt comes from an address of its own, as a trusted proxy tells it, so that no failure costs the next one a
    pause.
    """

    gateway: GatewayProcess
    issuer: KeySetServer
    folder: Path
    url: str
    ops: str
    used: list[str] = field(default_factory=list)
    addresses: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def headers(self, credentials: str | None, **others: str) -> dict[str, str]:
        number = next(self.addresses)
        found = {"X-Forwarded-For": f"198.18.{number // 256}.{number % 256}"} | others
        if credentials is not None:
            self.used.append(credentials)
            found["Authorization"] = f"Bearer {credentials}"
        return found

    async def rest(self, credentials: str | None, path: str = MARKET, **headers: str) -> tuple[int, str]:
        """Return status and code (``ok`` without one) of a request."""
        async with (
            aiohttp.ClientSession(self.url) as session,
            session.get(path, headers=self.headers(credentials, **headers)) as response,
        ):
            answer = await response.json()
            return response.status, answer.get("code", "ok")

    @asynccontextmanager
    async def stream(self, credentials: str | None) -> AsyncIterator[Client]:
        address = self.url.replace("http", "ws", 1) + "/ws/v1"
        async with connect(address, additional_headers=self.headers(credentials)) as connected:
            client = Client(connected)
            await client.until(lambda got: got)
            yield client

    async def v1(self, credentials: str | None) -> tuple[int, str]:
        """Return what :meth:`rest` does, of the handshake of the stream, version 1; 200 if it is accepted."""
        try:
            async with self.stream(credentials):
                return 200, "ok"
        except InvalidStatus as refused:
            return refused.response.status_code, json.loads(refused.response.body)["code"]

    @asynccontextmanager
    async def stream_v2(self, credentials: str | None = None, *, in_band: str | None = None) -> AsyncIterator[Client]:
        """Open the stream, version 2, with credentials in the handshake or in the first message."""
        address = self.url.replace("http", "ws", 1) + "/ws/v2"
        async with connect(address, additional_headers=self.headers(credentials)) as connected:
            client = Client(connected)
            await client.until(lambda got: got)
            if in_band is not None:
                self.used.append(in_band)
                await client.say(op="auth", id="auth", token=in_band)
                await client.until(lambda got: got[-1].get("id") == "auth")
            yield client

    async def v2(self, credentials: str | None) -> tuple[int, str]:
        """Return what :meth:`v1` does, of version 2."""
        try:
            async with self.stream_v2(credentials) as client:
                if credentials is not None:
                    return 200, "ok"
                assert client.messages[0]["access"] == "required"
                await client.say(**BOOK)
                await client.until(lambda got: got[-1].get("id") == 1)
                return 401, client.messages[-1]["code"]
        except InvalidStatus as refused:
            return refused.response.status_code, json.loads(refused.response.body)["code"]

    async def v2_in_band(self, credentials: str) -> tuple[int, str]:
        """Return the same of credentials in the first message; wrong ones must end the connection."""
        async with self.stream_v2(in_band=credentials) as client:
            answer = client.messages[-1]
            if answer["type"] == "authenticated":
                return 200, "ok"
            if "retry_after_ms" not in answer:
                assert await client.closing_code() == (3003 if answer["code"] == "key_revoked" else 3000)
            return 401, answer["code"]

    def key(self, name: str, *scopes: str) -> str:
        """Create an API key as the command does."""
        path = key_file.keys_path(self.gateway.settings)
        with key_file.changing(path):
            keys, text = key_file.read(path).created(name, scopes, time.time_ns())
            key_file.write(path, keys)
        self.used.append(text)
        return text

    async def known(self, text: str) -> None:
        """Wait until the gateway has read an API key."""

        async def let_in() -> bool:
            status, code = await self.rest(text)
            return (status, code) != (401, "unauthorized")

        await eventually(let_in)


@asynccontextmanager
async def site(folder: Path, kafka: KafkaSettings, **access: Any) -> AsyncIterator[Site]:
    async with key_set_server() as issuer:
        issuer.keys = [rsa(0), ec(0)]
        chosen = {
            "mode": "required",
            "issuer": ISSUER,
            "audience": AUDIENCE,
            "jwks_url": issuer.url,
            "trusted_proxies": ("127.0.0.1/32",),
            "leeway_seconds": 0,
        }
        async with running_gateway(
            folder, kafka, log=LogSettings(level="DEBUG"), access=AccessSettings(**chosen | access)
        ) as gateway:
            told = await gateway.announced()
            yield Site(gateway, issuer, folder, told["url"], f"http://127.0.0.1:{told['ops_port']}")


def answered(request: int, got: list[dict[str, Any]]) -> bool:
    return bool(got[-1].get("id") == request)


def public(number: int = 0) -> bytes:
    return rsa(number).as_pem(private=False)


def cases() -> dict[str, tuple[str | None, int, str]]:
    """Credentials, and the status and code that REST and the handshake answer them with."""
    now = int(time.time())
    return {
        "none": (None, 401, "unauthorized"),
        "malformed": ("a.b.c", 401, "unauthorized"),
        "not a token": ("canary-password", 401, "unauthorized"),
        "unknown key": ("apk_" + "x" * 43, 401, "unauthorized"),
        "expired": (token(rsa(), exp=now - 10), 401, "token_expired"),
        "not yet valid": (token(rsa(), nbf=now + 600), 401, "token_not_yet_valid"),
        "wrong audience": (token(rsa(), aud="another-service"), 401, "wrong_audience"),
        "wrong issuer": (token(rsa(), iss="https://evil.example"), 401, "wrong_issuer"),
        "wrong signature": (token(rsa(3), kid="rsa-0"), 401, "wrong_signature"),
        "unknown kid": (token(rsa(3)), 401, "unknown_signing_key"),
        "without kid": (token(rsa(0), kid=None), 200, "ok"),
        "alg none": (forged({"alg": "none"}, None), 401, "wrong_signature"),
        "alg none, kid": (forged({"alg": "none", "kid": "rsa-0"}, None), 401, "wrong_signature"),
        "key confusion": (forged({"alg": "HS256", "kid": "rsa-0"}, public()), 401, "wrong_signature"),
        "key confusion, no kid": (forged({"alg": "HS256"}, public()), 401, "wrong_signature"),
        "its own key": (token(rsa(4), kid=None, header={"jwk": rsa(4).as_dict(private=False)}), 401, "wrong_signature"),
        "malformed scope": (token(rsa(), scope="stream:book"), 401, "bad_claim"),
        "valid, RS256": (token(rsa()), 200, "ok"),
        "valid, ES256": (token(ec()), 200, "ok"),
    }


async def test_the_matrix_of_credentials(feed: Feed, kafka: KafkaSettings, tmp_path: Path) -> None:
    async with site(tmp_path, kafka) as found:

        async def check(name: str, credentials: str | None, status: int, code: str) -> None:
            assert await found.rest(credentials) == (status, code), name
            assert await found.v1(credentials) == (status, code), name
            assert await found.v2(credentials) == (status, code), name
            if credentials is not None:
                assert await found.v2_in_band(credentials) == (status, code), name

        async with asyncio.TaskGroup() as group:
            for name, case in cases().items():
                group.create_task(check(name, *case))


async def test_a_token_is_refreshed_in_its_last_seconds(feed: Feed, kafka: KafkaSettings, tmp_path: Path) -> None:
    await feed.put(market.depth(received_time=time.time_ns()))
    async with site(tmp_path, kafka) as found:
        end = int(time.time()) + 5
        async with found.stream_v2(in_band=token(rsa(), exp=end)) as client:
            await client.say(**BOOK)
            await client.until(lambda got: any(each["type"] == "token_expiring" for each in got))
            told = next(each for each in client.messages if each["type"] == "token_expiring")
            assert told["expires"] == end * 1_000_000
            await client.say(op="auth", id=7, token=token(rsa(), exp=end + 60))
            await client.until(lambda got: got[-1].get("id") == 7)
            assert client.messages[-1]["expires"] == (end + 60) * 1_000_000

            async def over() -> bool:
                return time.time() > end + 2

            await eventually(over)
            await client.say(op="ping", id=8)
            await client.until(lambda got: got[-1].get("id") == 8)
        async with found.stream_v2(in_band=token(rsa(), exp=int(time.time()) + 3)) as client:
            assert await client.closing_code() == 3000


async def test_scopes_decide_what_is_seen(feed: Feed, kafka: KafkaSettings, tmp_path: Path) -> None:
    await feed.put(market.depth(received_time=time.time_ns()))
    async with site(tmp_path, kafka) as found:
        narrow = token(rsa(), scope="stream:book:kraken rest:system")
        assert await found.rest(narrow) == (403, "forbidden")
        assert await found.rest(narrow, "/api/v1/system/health") == (200, "ok")
        async with found.stream(narrow) as client:
            await client.say(**BOOK)
            await client.until(lambda got: got[-1]["type"] == "snapshot")
            for number, change in enumerate(({"channel": "trades"}, {"venue": "coinbase"}), 2):
                await client.say(**BOOK | {"id": number} | change)
                await client.until(partial(answered, number))
                assert client.messages[-1]["code"] == "forbidden"
            await client.say(op="subscribe", id=9, channel="arbitrage", symbol="*")
            await client.until(lambda got: got[-1].get("id") == 9)
            assert client.messages[-1]["message"] == "desk-1 has no scope stream:arbitrage:*"
        async with found.stream_v2(narrow) as client:
            await client.say(**BOOK | {"venue": "*"})
            await client.until(lambda got: got[-1]["type"] == "snapshot")
            for number, change in enumerate(({"channel": "trades"}, {"venue": "coinbase"}), 2):
                await client.say(**BOOK | {"id": number} | change)
                await client.until(partial(answered, number))
                assert client.messages[-1]["code"] == "forbidden"


async def test_foreign_origins_read_nothing(feed: Feed, kafka: KafkaSettings, tmp_path: Path) -> None:
    async with site(tmp_path, kafka) as found:
        good = token(rsa())
        address = found.url.replace("http", "ws", 1) + "/ws/v1"
        with pytest.raises(InvalidStatus) as refused:
            await connect(
                address,
                origin="https://evil.example",  # type: ignore[arg-type]
                additional_headers=found.headers(good),
            ).__aenter__()
        assert refused.value.response.status_code == 403
        headers = found.headers(good, Origin="https://evil.example")
        async with aiohttp.ClientSession(found.url) as session, session.get(MARKET, headers=headers) as response:
            assert "Access-Control-Allow-Origin" not in response.headers


async def test_keys_come_and_go_while_the_gateway_runs(feed: Feed, kafka: KafkaSettings, tmp_path: Path) -> None:
    async with site(tmp_path, kafka) as found:
        text = found.key("desk-7", "stream:*:*", "rest:market")
        await found.known(text)
        assert await found.rest(text) == (200, "ok")
        async with found.stream(text) as first, found.stream_v2(in_band=text) as second:
            path = key_file.keys_path(found.gateway.settings)
            key_file.write(path, key_file.read(path).revoked("desk-7", time.time_ns()))
            assert await first.closing_code() == 3003
            assert await second.closing_code() == 3003
        assert await found.rest(text) == (401, "key_revoked")
        assert await found.v1(text) == (401, "key_revoked")


async def test_a_token_ends_with_its_last_second(feed: Feed, kafka: KafkaSettings, tmp_path: Path) -> None:
    async with site(tmp_path, kafka) as found:
        end = int(time.time()) + 4
        short = token(rsa(), exp=end)
        async with found.stream(short) as client:
            assert await client.closing_code() == 3000
            assert time.time() >= end
        assert await found.rest(short) == (401, "token_expired")
        assert await found.rest(token(rsa())) == (200, "ok")


async def test_the_issuers_keys_rotate(feed: Feed, kafka: KafkaSettings, tmp_path: Path) -> None:
    async with site(tmp_path, kafka) as found:
        before = token(rsa(0))
        assert await found.rest(before) == (200, "ok")
        found.issuer.keys = [rsa(1)]
        assert await found.v1(token(rsa(1))) == (200, "ok"), "fetched for this token"
        assert await found.rest(before) == (401, "unknown_signing_key"), "the issuer has withdrawn its key"
        found.issuer.state = "down"
        assert await found.rest(token(rsa(1), sub="desk-2")) == (200, "ok")
        asked = found.issuer.requests
        for _ in range(5):
            assert (await found.rest(token(rsa(2))))[0] == 401
        assert found.issuer.requests <= asked + 1, "whoever invents keys does not make us ask for them each time"


async def test_limits(feed: Feed, kafka: KafkaSettings, tmp_path: Path) -> None:
    async with site(tmp_path, kafka, requests_per_second=0.01, request_burst=8, connections_per_identity=1) as found:
        mine, other = token(rsa()), token(rsa(), sub="desk-2")
        async with found.stream(mine):
            address = found.url.replace("http", "ws", 1) + "/ws/v1"
            async with connect(address, additional_headers=found.headers(mine)) as second:
                assert await Client(second).closing_code() == 3013
        assert [(await found.rest(mine))[0] for _ in range(7)] == [200] * 6 + [429]
        assert await found.rest(mine) == (429, "rate_limited")
        assert await found.rest(other) == (200, "ok")
        guesses = [
            await found.rest("apk_guess", **{"X-Forwarded-For": "198.51.100.7"}) for _ in range(FREE_FAILURES + 2)
        ]
        assert guesses[:-1] == [(401, "unauthorized")] * (FREE_FAILURES + 1)
        assert guesses[-1] == (429, "rate_limited")


async def test_no_output_holds_a_secret(feed: Feed, kafka: KafkaSettings, tmp_path: Path) -> None:
    secret = "canary-shared-secret-0123456789-abcdefgh"
    async with site(tmp_path, kafka, secret=secret) as found:
        text = found.key("desk-7", "stream:*:*", "rest:market")
        await found.known(text)

        async def attempt(credentials: str | None) -> None:
            await found.rest(credentials)
            await found.v1(credentials)
            if credentials is not None:
                await found.v2_in_band(credentials)

        async with asyncio.TaskGroup() as group:
            for credentials, _, _ in cases().values():
                group.create_task(attempt(credentials))
        assert await found.rest(token(secret)) == (200, "ok")
        for key in ("token", "access_token", "api_key"):
            assert await found.rest(None, f"{MARKET}?{key}={text}") == (400, "credentials_in_url")
        async with found.stream(text) as client:
            for message in (text, json.dumps({"op": "auth", "token": text}), json.dumps({"op": text})):
                await client.connection.send(message)
            await client.until(lambda got: sum(each["type"] == "error" for each in got) == 3)
            outputs = {"stream": json.dumps(client.messages)}
        for path in ("/status", "/metrics", "/ready", "/health"):
            async with aiohttp.ClientSession(found.ops) as session, session.get(path) as response:
                outputs[path] = await response.text()
        assert found.gateway.process is not None
        outputs |= texts(Path(f"/proc/{found.gateway.process.pid}/cmdline"))
        outputs["topic"] = repr(await audit_events(kafka, {"access_granted", "access_refused", "access_key_created"}))
        found.gateway.process.send_signal(signal.SIGTERM)
        code, outputs["log"] = await found.gateway.ended()
        assert code == EXIT_OK, outputs["log"]
        outputs |= texts(*below(tmp_path))
        secrets = [secret, *(each for each in found.used if len(each) > 12)]
        assert "audit" in outputs["log"]
        assert "wrong_audience" in outputs["log"]
        for where, output in outputs.items():
            for each in secrets:
                assert each not in output, where
                assert each.rpartition(".")[2][:43] not in output or each.endswith("."), where


def below(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))


def texts(*paths: Path) -> dict[str, str]:
    """Return the contents of those paths that are files."""
    return {str(path): path.read_text(encoding="utf-8", errors="replace") for path in paths if path.is_file()}


async def audit_events(kafka: KafkaSettings, kinds: set[str]) -> list[Event]:
    """Read the audit events from the broker until one of each of ``kinds`` was there."""
    codec = Codec()
    found: list[Event] = []
    consumer = AIOKafkaConsumer(topics.EVENTS, **connection(kafka), auto_offset_reset="earliest")
    async with running(consumer, kafka) as reading, asyncio.timeout(BOUND):
        while not kinds <= {event.kind for event in found}:
            record = await reading.getone()
            found.append(codec.decode_as(Event, record.value))
    return found


async def test_open_access_elsewhere_is_refused_at_the_start(kafka: KafkaSettings, tmp_path: Path) -> None:
    async with running_gateway(tmp_path, kafka, host="0.0.0.0") as gateway:
        code, output = await gateway.ended()
    assert code == EXIT_REFUSED
    assert "gateway: gateway.host: 0.0.0.0 can be reached from other machines, and access is open to everyone" in output
    assert 'gateway.access.mode = "required"' in output
    assert "Traceback" not in output


@pytest.mark.parametrize("access", [{"allow_public": True}, {"mode": "required"}])
async def test_elsewhere_it_starts_if_that_was_asked_for(
    feed: Feed, kafka: KafkaSettings, tmp_path: Path, access: dict[str, Any]
) -> None:
    async with running_gateway(tmp_path, kafka, host="0.0.0.0", access=AccessSettings(**access)) as gateway:
        assert (await gateway.announced())["url"].startswith("http://127.0.0.1:")


async def test_a_broken_key_file_ends_the_start_with_a_message(kafka: KafkaSettings, tmp_path: Path) -> None:
    path = tmp_path / "access" / "keys.json"
    path.parent.mkdir()
    key_file.write(path, NO_KEYS)
    path.write_text('{"version": 1}', encoding="utf-8")
    async with running_gateway(tmp_path, kafka) as gateway:
        code, output = await gateway.ended()
    assert code == EXIT_REFUSED
    assert f"gateway.access.keys_path: {path}: keys: Field required" in output


async def test_the_command_creates_keys_that_a_running_gateway_takes(
    feed: Feed, kafka: KafkaSettings, tmp_path: Path
) -> None:
    async def keys(*arguments: str) -> str:
        command = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "alphapulse.cli", "keys", *arguments, "--data-dir", str(tmp_path),
            cwd=ROOT, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, _ = await command.communicate()
        assert command.returncode == 0
        return output.decode().strip()

    async with site(tmp_path, kafka) as found:
        text = await keys("create", "desk-7", "--scope", "rest:market", "--expires", "1h")
        await found.known(text)
        assert await found.rest(text) == (200, "ok")
        assert "desk-7" in await keys("list")
        await keys("revoke", "desk-7")

        async def revoked() -> bool:
            return await found.rest(text) == (401, "key_revoked")

        await eventually(revoked)
