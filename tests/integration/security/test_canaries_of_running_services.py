"""No secret shows while services work: all kinds of them, each with every secret that it can have, at log level DEBUG.

One broker and all services at once, ready, asked, with wrong credentials too, and stopped. What is refused or crashes
is in ``test_canaries.py``.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from alphapulse.cli.acls import acls
from alphapulse.config import KafkaSettings, Settings, environment
from alphapulse.kafka.services import SERVICES
from alphapulse.service import Service, announcement_path
from gateway.access import keys as key_file
from producers.simulator.listings import make_listings
from producers.simulator.server import Simulation
from tests.fixtures.canaries import Canaries, below
from tests.fixtures.clickhouse_server import ClickHouseServer
from tests.fixtures.issuer import AUDIENCE, ISSUER, token
from tests.fixtures.kafka_cluster import empty, quick
from tests.fixtures.s3_server import VARIABLES, s3_server
from tests.fixtures.schema_registry import registry_server
from tests.fixtures.secure_kafka import ON_SECURE_KAFKA, SecureKafka, free_ports
from tests.fixtures.service_process import ServiceProcess
from tests.fixtures.token_endpoint import token_endpoint
from tests.fixtures.venue_server import until

pytestmark = [ON_SECURE_KAFKA, pytest.mark.slow, pytest.mark.unmeasured]

STARTED: Final = ("collector-alpaca", "processors", "sink-clickhouse", "sink-parquet", "gateway")
OPS: Final = ("/health", "/ready", "/status", "/metrics", "/nothing")
REST: Final = (
    "/api/v1/exchanges",
    "/api/v1/trades?from=1700000000000000&order=asc",
    "/api/v1/system/health",
    "/api/v1/system/status",
)


@pytest.mark.parametrize("prefix", ["", "u", "us", "user:"])
def test_every_form_of_a_secret_is_found(prefix: str) -> None:
    canaries = Canaries()
    whole = f"{prefix}{canaries.make('one')}"
    encoded = base64.b64encode(whole.encode()), base64.urlsafe_b64encode(whole.encode())
    for form in (whole.encode(), quote(whole, safe="").encode(), *encoded):
        assert canaries.shown({"log": b"before " + form + b" after"}) == {("log", "one")}
    assert canaries.shown({"log": b"nothing"}) == set()


class Site:
    """Everything that the services use, and the services' variables with their secrets."""

    def __init__(self, folder: Path, broker: SecureKafka) -> None:
        self.canaries = Canaries()
        self.data = folder / "data"
        self.data.mkdir()
        self._secrets = folder / "secrets"
        self._secrets.mkdir()
        self._broker = broker
        self.clickhouse: ClickHouseServer
        self.signing = self.canaries.make("gateway.access.secret")
        self.own: dict[str, dict[str, str]] = {name: {"ALPHAPULSE_LOG__LEVEL": "DEBUG"} for name in STARTED}

    def in_a_file(self, name: str, secret: str) -> str:
        """Return the path of a file outside the data directory that holds ``secret``."""
        path = self._secrets / name
        path.write_text(f"{secret}\n")
        return str(path)

    def kafka(self, *, sasl_password: str, listener: str = "CLEAR", **others: Any) -> dict[str, str]:
        """Return the variables of a client of the broker."""
        kafka: KafkaSettings = self._broker.scram("desk", sasl_password, listener, **others)
        return environment(Settings(kafka=kafka))

    def held(self) -> dict[str, bytes]:
        """Return what the services are given, in which every secret has to be found."""
        return below(self._secrets) | {"variables": repr(self.own).encode()}


@asynccontextmanager
async def site(folder: Path, broker: SecureKafka, patch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    made = Site(folder, broker)
    make, own = made.canaries.make, made.own
    async with AsyncExitStack() as stack:
        # Kafka: SCRAM from the environment and from a file, and OAUTHBEARER.
        scram, oauth = make("kafka.sasl_password"), make("kafka.sasl_password of OAUTHBEARER")
        broker.user("desk", scram)
        await empty(quick(broker.cluster.settings()))  # what other tests left names schemas that this registry has not
        for name in SERVICES:
            broker.allow(acls(Settings(), [name], "User:desk"))
        endpoint = await stack.enter_async_context(token_endpoint(oauth, jti=make("token of OAUTHBEARER")))
        for name in STARTED:
            own[name] |= made.kafka(sasl_password=scram)
        own["processors"] |= made.kafka(
            sasl_password=oauth, listener="SASL", sasl_mechanism="OAUTHBEARER",
            sasl_oauth_token_url=endpoint.url, sasl_oauth_scope="kafka",
        )  # fmt: skip
        del own["sink-parquet"]["ALPHAPULSE_KAFKA__SASL_PASSWORD"]
        own["sink-parquet"]["ALPHAPULSE_KAFKA__SASL_PASSWORD_FILE"] = made.in_a_file("kafka", scram)

        # The registry: a password of its own, and one in the address.
        password = make("registry.password")
        registry = stack.enter_context(registry_server())
        registry.password = base64.b64encode(f"desk:{password}".encode()).decode()
        for name in STARTED:
            own[name] |= {
                "ALPHAPULSE_REGISTRY__URL": registry.url,
                "ALPHAPULSE_REGISTRY__USERNAME": "desk",
                "ALPHAPULSE_REGISTRY__PASSWORD": password,
            }
        del own["gateway"]["ALPHAPULSE_REGISTRY__USERNAME"], own["gateway"]["ALPHAPULSE_REGISTRY__PASSWORD"]
        own["gateway"]["ALPHAPULSE_REGISTRY__URL"] = registry.url.replace("//", f"//desk:{quote(password, safe='')}@")

        # ClickHouse: a password in the DSN, from the environment and from a file.
        password = make("clickhouse.dsn")
        (port,) = free_ports(1)
        server = made.clickhouse = ClickHouseServer(folder / "clickhouse", port)
        with patch.context() as seen:
            seen.setenv("CLICKHOUSE_USER", "desk")
            seen.setenv("CLICKHOUSE_PASSWORD", password)
            stack.callback(server.kill)
            await asyncio.to_thread(server.start)
        dsn = server.dsn.replace("//", f"//desk:{quote(password, safe='')}@")
        own["sink-clickhouse"] |= {"ALPHAPULSE_CLICKHOUSE__DSN": dsn, "ALPHAPULSE_CLICKHOUSE__DRAIN_SECONDS": "0"}
        own["gateway"] |= {"ALPHAPULSE_CLICKHOUSE__DSN_FILE": made.in_a_file("dsn", dsn)}

        # Parquet files in a bucket.
        for name, value in (VARIABLES | {"AWS_SECRET_ACCESS_KEY": make("AWS_SECRET_ACCESS_KEY")}).items():
            patch.setenv(name, value)
            own["sink-parquet"][name] = value
        bucket = stack.enter_context(s3_server())
        own["sink-parquet"] |= {
            "ALPHAPULSE_PARQUET__PATH": bucket.url("files"),
            "ALPHAPULSE_PARQUET__BATCH_SECONDS": "1",
        }

        # A receiver of traces, which is away: a library of its own tells why. It costs each service time at its end.
        endpoint_of_traces = f"http://desk:{quote(make('tracing.endpoint'), safe='')}@127.0.0.1:9"
        for name in ("collector-alpaca", "gateway"):
            own[name] |= {
                "ALPHAPULSE_TRACING__ENDPOINT": endpoint_of_traces,
                "ALPHAPULSE_TRACING__SAMPLE_RATIO": "1",
            }

        # A venue that asks for a key.
        told = await stack.enter_async_context(simulated_venue(folder))
        own["collector-alpaca"] |= {
            "ALPHAPULSE_VENUES__ALPACA__SYMBOLS": "AAPL",
            "ALPHAPULSE_VENUES__ALPACA__WEBSOCKET_URL": told["websocket_url"],
            "ALPHAPULSE_VENUES__ALPACA__REST_URL": told["rest_url"],
            "ALPHAPULSE_VENUES__ALPACA__KEY": make("venues.alpaca.key"),
            "ALPHAPULSE_VENUES__ALPACA__SECRET": make("venues.alpaca.secret"),
        }

        # The gateway's clients: tokens and keys.
        own["gateway"] |= {
            "ALPHAPULSE_GATEWAY__PORT": "0",
            "ALPHAPULSE_GATEWAY__ACCESS__MODE": "required",
            "ALPHAPULSE_GATEWAY__ACCESS__ISSUER": ISSUER,
            "ALPHAPULSE_GATEWAY__ACCESS__AUDIENCE": AUDIENCE,
            "ALPHAPULSE_GATEWAY__ACCESS__SECRET_FILE": made.in_a_file("signing", made.signing),
        }
        yield made


@asynccontextmanager
async def simulated_venue(folder: Path) -> AsyncIterator[dict[str, Any]]:
    """Serve alpaca in this process; yield what it announces."""
    service = Service("venue", Settings(data_dir=folder / "venue"))
    simulation = Simulation(make_listings(["alpaca"], ["AAPL"]), seed=5, rate=20.0)
    work = asyncio.create_task(simulation.serve(service))
    try:
        await until(lambda: service.ready or work.done())
        told = json.loads(announcement_path(service.settings, "venue").read_text())
        yield told["venues"]["alpaca"]
    finally:
        service.stopping.set()
        await work


async def asked_as_a_client(url: str, credentials: str, http: aiohttp.ClientSession) -> list[str]:
    """Return what REST and both versions of the stream answer to whoever sends ``credentials``."""
    headers = {"Authorization": f"Bearer {credentials}"}
    told: list[str] = []
    for path in (*REST, f"/api/v1/exchanges?token={quote(credentials)}"):
        async with http.get(url + path, headers=headers) as answer:
            told.append(f"{answer.status} {answer.headers} {await answer.text()}")
    address = url.replace("http", "ws", 1)
    try:
        async with connect(f"{address}/ws/v1", additional_headers=headers) as stream:
            told.append(repr(await stream.recv()))
            await stream.send(credentials)
            told.append(repr(await stream.recv()))
    except InvalidStatus as refused:
        told.append(f"{refused.response.headers} {refused.response.body!r}")
    async with connect(f"{address}/ws/v2") as stream:
        told.append(repr(await stream.recv()))
        await stream.send(json.dumps({"op": "auth", "id": 1, "token": credentials}))
        try:
            while '"id":1' not in told[-1]:
                told.append(repr(await stream.recv()))
        except ConnectionClosed as closed:
            told.append(repr(closed))
    return told


def titles(process: Path) -> dict[str, bytes]:
    """Return a process's command line and the names of its threads."""
    return {str(path): path.read_bytes() for path in (process / "cmdline", *process.glob("task/*/comm"))}


async def test_services_that_work_show_none(
    secure_kafka: SecureKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        site(tmp_path, secure_kafka, monkeypatch) as found,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http,
    ):
        canaries, settings = found.canaries, Settings(data_dir=found.data)
        path = key_file.keys_path(settings)
        keys, key = key_file.NO_KEYS.created("desk", ("rest:*", "stream:*:*"), time.time_ns())
        with key_file.changing(path):  # makes the folder
            key_file.write(path, keys)
        # Valid however long the services take to start.
        claims: dict[str, Any] = {"scope": "rest:* stream:*:*", "exp": int(time.time()) + 3600}
        signed, forged = token(found.signing, **claims), token(canaries.make("another signing key"), **claims)
        wrong_key = f"apk_{canaries.make('a key that is none')}"
        credentials = {"key": key, "token": signed, "wrong token": forged, "wrong key": wrong_key}
        canaries.know("key", key[:20])
        canaries.know("token", signed.rpartition(".")[2][:20])
        canaries.know("wrong token", forged.rpartition(".")[2][:20])
        clients = {"credentials": repr(credentials).encode(), "signing": forged.encode()}
        assert {name for _, name in canaries.shown(found.held() | clients)} >= canaries.names - {
            "token of OAUTHBEARER",  # made by the endpoint
            "another signing key",  # signs alone
        }

        made = [ServiceProcess(name, settings, http, found.own[name]) for name in STARTED]
        outputs: dict[str, bytes] = {}
        try:
            await asyncio.gather(*(one.start() for one in made))
            await asyncio.gather(*(one.until_ready() for one in made))
            told = json.loads(announcement_path(settings, "gateway").read_text())
            for name, text in credentials.items():
                answers = await asked_as_a_client(told["url"], text, http)
                # 429: after some failures an address has to pause.
                assert answers[0].startswith(("401", "429") if "wrong" in name else "200"), answers[0]
                outputs[f"answers to a {name}"] = "\n".join(answers).encode()
            found.clickhouse.kill()  # what fails while a service works is told, too
            answers = await asked_as_a_client(told["url"], key, http)
            assert any(answer.startswith("503") for answer in answers)
            outputs["answers without ClickHouse"] = "\n".join(answers).encode()
            for one in made:
                assert one.process is not None
                outputs |= {f"{one.name}{path}": (await one.ask(path)).encode() for path in OPS}
                outputs |= titles(Path(f"/proc/{one.process.pid}"))
            assert await asyncio.gather(*(one.stop() for one in made)) == [0] * len(made)
        except BaseException:
            for one in made:
                print(f"--- {one.name}:\n{one.said()[-3000:]}")  # noqa: T201
            raise
        finally:
            await asyncio.gather(*(one.kill() for one in made))
        outputs |= below(found.data)
    assert b"debug" in b"".join(outputs.values()), "the log is detailed"
    assert canaries.shown(outputs) == set()
