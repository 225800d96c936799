"""The remote registry's client against registries that somebody else wrote: Apicurio, and the one in a container.

That is Redpanda's (or the stand-ins' Apicurio). The other runs where APICURIO_HOME names the folder of an unpacked
Apicurio (142 MB, Java 17; ``scripts/apicurio`` fetches it):

    mvn org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy -DoutputDirectory=. \
        -Dartifact=io.apicurio:apicurio-registry-app:2.6.13.Final:tar.gz:all
    mkdir apicurio && tar xzf apicurio-registry-app-2.6.13.Final-all.tar.gz -C apicurio
    APICURIO_HOME=apicurio pytest tests/integration/schemas
"""

from __future__ import annotations

import http.client
import json
import os
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from alphapulse.config import RegistrySettings
from alphapulse.errors import IncompatibleSchema, SchemaError
from schemas.codec import Codec
from schemas.definitions import definition
from schemas.records import Trade
from schemas.remote import RemoteRegistry, registry
from tests.fixtures.containers import IN_CONTAINERS
from tests.fixtures.records import FULL, TRADE

BOUND = 120.0
API = "/apis/ccompat/v7"
TRADES = definition(Trade)


@pytest.fixture(
    scope="module",
    params=[
        # On one worker, so that there is one Java process.
        pytest.param("apicurio", marks=[pytest.mark.apicurio, pytest.mark.xdist_group("apicurio")]),
        pytest.param("container_registry", marks=IN_CONTAINERS, id="container"),
    ],
)
def url(request: pytest.FixtureRequest) -> str:
    """The Confluent API of each registry in turn."""
    address: str = request.getfixturevalue(request.param)
    return address


@pytest.fixture(scope="module")
def apicurio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The Confluent API of an Apicurio that holds its schemas in memory."""
    home = Path(os.environ.get("APICURIO_HOME", ""))
    jar = next(iter(home.glob("apicurio-registry-app-*-runner.jar")), None) if home.name else None
    if jar is None or shutil.which("java") is None:
        pytest.skip("no Apicurio: needs java, and APICURIO_HOME with its unpacked distribution")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (tmp_path_factory.mktemp("apicurio") / "log").open("wb") as log:
        options = ["-Xmx400m", f"-Dquarkus.http.port={port}", "-Dquarkus.http.host=127.0.0.1"]
        process = subprocess.Popen(["java", *options, "-jar", jar.name], cwd=jar.parent, stdout=log, stderr=log)
        try:
            wait_for(port, process)
            yield f"http://127.0.0.1:{port}{API}"
        finally:
            process.terminate()
            process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the registry answers."""
    deadline = time.monotonic() + BOUND
    while not answers(port):
        assert process.poll() is None, "Apicurio ended"
        assert time.monotonic() < deadline, "Apicurio does not answer"
        select.select([], [], [], 0.2)


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", f"{API}/subjects")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def test_records_travel_between_two_processes(url: str) -> None:
    writer, reader = (Codec(registry(RegistrySettings(url=url))) for _ in range(2))
    writer.prepare()
    for record in FULL:
        assert reader.decode(writer.encode(record)) == record


def test_registering_again_gives_the_same_id(url: str) -> None:
    assert RemoteRegistry(url).register(TRADES) == RemoteRegistry(url).register(TRADES)


def test_it_refuses_what_breaks_readers(url: str) -> None:
    RemoteRegistry(url).register(TRADES)
    schema = json.loads(TRADES.text)
    schema["fields"].append({"name": "note", "type": "string"})
    with pytest.raises(IncompatibleSchema, match=r"subject md\.trades-value: incompatible"):
        RemoteRegistry(url).register(replace(TRADES, text=json.dumps(schema)))
    with pytest.raises(SchemaError, match="HTTP 422, code 42201"):
        RemoteRegistry(url).register(replace(TRADES, text='{"type": "nothing"}'))


def test_a_field_with_a_default_may_be_added(url: str) -> None:
    old = RemoteRegistry(url).register(TRADES)
    schema = json.loads(TRADES.text)
    schema["fields"].append({"name": "note", "type": "string", "default": ""})
    assert RemoteRegistry(url).register(replace(TRADES, text=json.dumps(schema))) != old
    # What the older release writes and reads is not touched by it.
    codec = Codec(RemoteRegistry(url))
    assert codec.decode(codec.encode(TRADE)) == TRADE


def test_an_unknown_id(url: str) -> None:
    assert RemoteRegistry(url).schema(2**31 - 1) is None
