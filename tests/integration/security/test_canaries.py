"""No secret shows: every secret setting holds a canary, and everything that services write or answer is searched.

Here of services that are refused or crash, and of commands; services that work are in
``test_canaries_of_running_services.py``.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import aiohttp
import pytest
from pydantic import BaseModel, SecretStr

from alphapulse.config import Settings, environment
from alphapulse.config.faults import leaf_fields
from alphapulse.kafka import connection
from alphapulse.kafka.native import configuration
from tests.fixtures.schema_registry import registry_server
from tests.fixtures.scripted_broker import ScriptedBroker, scripted_broker
from tests.fixtures.service_process import ROOT, SERVICES, ServiceProcess

MARK = "canary0"
"""In every secret; nothing else has it."""

pytestmark = [pytest.mark.slow, pytest.mark.unmeasured]


def secret_keys(model: type[BaseModel], *before: str) -> Iterator[tuple[str, ...]]:
    """Yield the paths of all secret settings; tables of named things have the name ``kraken``."""
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        if kind is SecretStr:
            yield (*before, name)
        elif _is_table(kind):
            yield from secret_keys(kind, *before, name)
        elif get_origin(kind) is dict and _is_table(inner := get_args(kind)[1]):
            yield from secret_keys(inner, *before, name, "kraken")


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


SECRETS = {key: f"{MARK}-{'-'.join(key)}-which-is-long-enough" for key in secret_keys(Settings)}


def variables(**others: str) -> dict[str, str]:
    """Return the environment of a service: every secret, and passwords in addresses."""
    found = {"ALPHAPULSE_" + "__".join(key).upper(): secret for key, secret in SECRETS.items()}
    return found | {
        "ALPHAPULSE_GATEWAY__PORT": "0",
        "ALPHAPULSE_GATEWAY__ACCESS__ISSUER": "https://issuer.example",
        "ALPHAPULSE_GATEWAY__ACCESS__AUDIENCE": "desk",
        "ALPHAPULSE_TRACING__ENDPOINT": f"http://user:{MARK}-tracing@127.0.0.1:9",
        "ALPHAPULSE_LOG__LEVEL": "DEBUG",
        "ALPHAPULSE_VENUES__KRAKEN__SYMBOLS": "BTC-USD",
        "ALPHAPULSE_VENUES__KRAKEN__WEBSOCKET_URL": "ws://127.0.0.1:9",
        **others,
    }


def test_all_secrets_are_found() -> None:
    """Whoever adds a key whose name says that it is a secret makes it one."""
    names = {key[-1] for key in leaf_fields(Settings)}
    assert {name for name in names if "password" in name or "secret" in name} - {"follow_secrets"} <= {
        key[-1] for key in SECRETS
    }
    assert {("kafka", "sasl_password"), ("kafka", "ssl_key_password"), ("venues", "kraken", "secret")} <= set(SECRETS)


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in [name for name in os.environ if name.startswith("ALPHAPULSE_")]:
        monkeypatch.delenv(name)
    for name, value in variables().items():
        monkeypatch.setenv(name, value)
    return Settings()


def test_settings_show_none(settings: Settings) -> None:
    shown = [repr(settings), str(settings), settings.model_dump_json(), json.dumps(settings.model_dump(mode="json"))]
    shown += [repr(section) for section in vars(settings).values()]
    assert MARK in json.dumps(environment(settings)), "the test would find it"
    # Addresses are no secrets of their own type: their repr is hidden instead, and no dump of settings is written.
    assert [text for text in (shown[0], shown[1], *shown[4:]) if MARK in text] == []
    assert not [key for key, secret in SECRETS.items() if any(secret in text for text in shown)]


def test_a_traceback_shows_none(settings: Settings) -> None:
    def fail() -> None:
        passed = connection(settings.kafka), configuration.connection(settings.kafka)
        raise RuntimeError(f"a bug with {settings.kafka!r} and {len(passed)}")

    with pytest.raises(RuntimeError) as failed:
        fail()
    assert MARK not in "".join(traceback.format_exception(failed.value))


CRASH = """
import ctypes, faulthandler, os, sys
from alphapulse import kafka, service
from alphapulse.kafka.native import configuration

async def main(running):
    secrets = kafka.connection(running.settings.kafka), configuration.connection(running.settings.kafka)
    plain = running.settings.kafka.sasl_password.get_secret_value()
    assert ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 0, "PR_GET_DUMPABLE: no core dump, not even by a pipe"
    if sys.argv[1] == "abort":
        faulthandler.enable()
        os.abort()
    raise KeyError("a bug")

sys.exit(service.run("crashing", main))
"""


@pytest.mark.parametrize("how", ["abort", "bug"])
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_crash_shows_none(tmp_path: Path, how: str, form: str) -> None:
    given = variables(
        ALPHAPULSE_LOG__FORMAT=form,
        ALPHAPULSE_DATA_DIR=str(tmp_path),
        ALPHAPULSE_KAFKA__SECURITY_PROTOCOL="SASL_PLAINTEXT",
        ALPHAPULSE_KAFKA__SASL_USERNAME="desk",
    )
    done = run([sys.executable, "-c", CRASH, how], tmp_path, given)
    assert done.returncode == (-signal.SIGABRT if how == "abort" else 1), done.stderr
    assert "main" in done.stderr, "a traceback"
    assert "AssertionError" not in done.stderr
    assert MARK not in done.stdout + done.stderr
    assert written(tmp_path) == []


def run(command: list[str], folder: Path, given: dict[str, str]) -> subprocess.CompletedProcess[str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("ALPHAPULSE_")}
    return subprocess.run(
        command,
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(ROOT), **given},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def written(folder: Path) -> list[Path]:
    """Return the files under ``folder`` with a secret in them."""
    return [file for file in folder.rglob("*") if file.is_file() and MARK.encode() in file.read_bytes()]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALPHAPULSE_KAFKA__SASL_PASSWORDS", f"{MARK}-typo"),
        ("ALPHAPULSE_GATEWAY__ACCESS__SECRET", f"{MARK}-short"),
        ("ALPHAPULSE_REGISTRY__URL", f"ftp://user:{MARK}@registry"),
        ("ALPHAPULSE_KAFKA__SASL_OAUTH_TOKEN_URL", f"http://user:{MARK}@login.example/token"),
        ("ALPHAPULSE_CLICKHOUSE__DSN", f"clickhouse://user:{MARK}@host:8123"),
        ("ALPHAPULSE_KAFKA__SSL_KEYFILE", "key.pem"),
    ],
)
def test_a_refused_configuration_shows_none(tmp_path: Path, name: str, value: str) -> None:
    given = variables(ALPHAPULSE_DATA_DIR=str(tmp_path), ALPHAPULSE_CLICKHOUSE__USERNAME="writer", **{name: value})
    done = run([sys.executable, "-m", "sinks", "parquet"], tmp_path, given)
    assert done.returncode == 2, done.stderr
    assert "configuration refused" in done.stderr
    assert MARK not in done.stdout + done.stderr


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        yield session


async def test_services_that_are_refused_show_none(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    broker = ScriptedBroker(mechanisms=("PLAIN",), password="another")
    with registry_server() as registry:
        registry.password = "another"
        async with scripted_broker(broker):
            given = variables(
                ALPHAPULSE_DATA_DIR=str(tmp_path),
                ALPHAPULSE_KAFKA__BOOTSTRAP=f"127.0.0.1:{broker.port}",
                ALPHAPULSE_KAFKA__SECURITY_PROTOCOL="SASL_PLAINTEXT",
                ALPHAPULSE_KAFKA__SASL_MECHANISM="PLAIN",
                ALPHAPULSE_KAFKA__SASL_USERNAME="desk",
                ALPHAPULSE_REGISTRY__URL=registry.url,
                ALPHAPULSE_REGISTRY__USERNAME="desk",
            )
            plain = Settings(data_dir=tmp_path)
            made = [ServiceProcess(name, plain, http, given) for name in SERVICES]
            try:
                await asyncio.gather(*(one.start() for one in made))
                told = await asyncio.gather(*(one.until_waiting_for("password: ") for one in made))
                for one in made:
                    assert one.process is not None
                    told += [await one.ask(path) for path in ("/ready", "/health", "/status", "/metrics")]
                    process = Path(f"/proc/{one.process.pid}")
                    told += [(process / "cmdline").read_text(), (process / "comm").read_text()]
                    limit = (process / "limits").read_text().partition("Max core file size")[2].split()[0]
                    assert limit == "0", "no image of its memory in a file"
                assert await asyncio.gather(*(one.stop() for one in made)) == [0] * len(made)
            finally:
                await asyncio.gather(*(one.kill() for one in made))
    assert [text for text in told if MARK in text] == []
    assert written(tmp_path) == [], "logs, run files and last statuses"


@pytest.mark.parametrize("command", [("topics", "create"), ("init",), ("acls",), ("acls", "--clickhouse")])
async def test_commands_show_none(tmp_path: Path, command: tuple[str, ...]) -> None:
    broker = ScriptedBroker(mechanisms=("PLAIN",), password="another")
    async with scripted_broker(broker):
        given = variables(
            ALPHAPULSE_DATA_DIR=str(tmp_path),
            ALPHAPULSE_KAFKA__BOOTSTRAP=f"127.0.0.1:{broker.port}",
            ALPHAPULSE_KAFKA__SECURITY_PROTOCOL="SASL_PLAINTEXT",
            ALPHAPULSE_KAFKA__SASL_MECHANISM="PLAIN",
            ALPHAPULSE_KAFKA__SASL_USERNAME="desk",
        )
        done = await asyncio.to_thread(run, [sys.executable, "-m", "alphapulse.cli", *command], tmp_path, given)
    assert done.returncode == (0 if command[0] == "acls" else 2), done.stderr
    assert MARK not in done.stdout + done.stderr
