"""The client of a remote schema registry, against a real HTTP server."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from alphapulse.config import RegistrySettings
from alphapulse.errors import IncompatibleSchema, RecordRefused, SchemaError
from schemas.codec import Codec
from schemas.definitions import definition, definitions
from schemas.records import Trade
from schemas.registry import LocalRegistry
from schemas.remote import COMPATIBILITY, UNKNOWN_SECONDS, RemoteRegistry, registry
from tests.fixtures.records import FULL, TRADE
from tests.fixtures.schema_registry import RegistryServer, registry_server

TRADES = definition(Trade)


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with registry_server() as running:
        yield running


@pytest.fixture
def client(server: RegistryServer) -> RemoteRegistry:
    return RemoteRegistry(server.url, retries=0)


def test_the_configuration_chooses(server: RegistryServer) -> None:
    assert isinstance(registry(RegistrySettings()), LocalRegistry)
    assert isinstance(registry(RegistrySettings(url="")), LocalRegistry)
    assert isinstance(registry(RegistrySettings(url=server.url)), RemoteRegistry)


def test_register_sets_the_compatibility_first(server: RegistryServer, client: RemoteRegistry) -> None:
    assert client.register(TRADES) == 1
    assert server.requests == [
        "GET /config/md.trades-value",
        "PUT /config/md.trades-value",
        "POST /subjects/md.trades-value/versions",
    ]
    assert server.compatibility == {"md.trades-value": COMPATIBILITY}
    assert server.schemas[1] == (TRADES.text, "AVRO")


def test_ids_are_asked_for_once(server: RegistryServer, client: RemoteRegistry) -> None:
    client.register(TRADES)
    asked = len(server.requests)
    assert client.register(TRADES) == 1
    assert client.schema(1) == TRADES.parsed
    assert len(server.requests) == asked


def test_another_process_gets_the_same_id(server: RegistryServer, client: RemoteRegistry) -> None:
    client.register(TRADES)
    asked = len(server.requests)
    assert RemoteRegistry(server.url).register(TRADES) == 1
    # The compatibility stood already: it was not set again.
    assert server.requests[asked:] == ["GET /config/md.trades-value", "POST /subjects/md.trades-value/versions"]


def test_a_weaker_compatibility_is_corrected(server: RegistryServer, client: RemoteRegistry) -> None:
    server.compatibility["md.trades-value"] = "NONE"
    client.register(TRADES)
    assert server.compatibility["md.trades-value"] == COMPATIBILITY


def test_records_travel_between_two_processes(server: RegistryServer) -> None:
    writer, reader = Codec(RemoteRegistry(server.url)), Codec(RemoteRegistry(server.url))
    writer.prepare()
    assert len(server.schemas) == len(definitions())
    for record in FULL:
        assert reader.decode(writer.encode(record)) == record
    asked = len(server.requests)
    for record in FULL:
        assert reader.decode(writer.encode(record)) == record
    assert len(server.requests) == asked


def test_an_incompatible_schema(server: RegistryServer, client: RemoteRegistry) -> None:
    client.register(TRADES)
    changed = json.loads(TRADES.text)
    changed["fields"] = changed["fields"][1:]
    with pytest.raises(IncompatibleSchema) as caught:
        RemoteRegistry(server.url, retries=0).register(replace(TRADES, text=json.dumps(changed)))
    assert str(caught.value) == (
        f"registry {server.url}: subject md.trades-value: incompatible: Schema being registered is incompatible with "
        "an earlier schema: alphapulse.Trade.venue: removed or renamed"
    )


def test_an_invalid_schema(server: RegistryServer, client: RemoteRegistry) -> None:
    with pytest.raises(SchemaError) as caught:
        client.register(replace(TRADES, text='{"type": "nothing"}'))
    assert str(caught.value) == (
        f"registry {server.url}: subject md.trades-value: refused: Either the input schema or one its references is "
        "invalid (HTTP 422, code 42201)"
    )


def test_no_one_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    gone = RemoteRegistry(url, retries=0)
    with pytest.raises(SchemaError, match=rf"^registry {url}: subject md.trades-value: cannot be reached: .*refused"):
        gone.register(TRADES)
    with pytest.raises(SchemaError, match=rf"^registry {url}: schema 7: cannot be reached"):
        gone.schema(7)
    with pytest.raises(SchemaError, match="cannot be reached"):
        Codec(gone).prepare()


def test_one_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(SchemaError, match=r"cannot be reached: .*timed out"):
            RemoteRegistry(url, timeout_seconds=0.1, retries=0).register(TRADES)


@pytest.mark.parametrize("url", ["registry:8081", "ftp://registry", ""])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(SchemaError, match=r"^registry\.url: "):
        RemoteRegistry(url)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (500, b'{"error_code": 50001, "message": "store down"}', r"refused: store down \(HTTP 500, code 50001\)"),
        (502, b"<html>bad gateway</html>", r"refused: Unknown Schema Registry Error: .*bad gateway.* \(HTTP 502"),
        (200, b"<html>a login page</html>", "the response is not one of a schema registry"),
        (200, b'{"hello": 1}', "the response is not one of a schema registry"),
        (200, b"[]", "the response is not one of a schema registry"),
    ],
)
def test_a_broken_server(
    server: RegistryServer, client: RemoteRegistry, status: int, body: bytes, expected: str
) -> None:
    server.failing = (status, body)
    with pytest.raises(SchemaError, match=f"^registry {server.url}: subject md.trades-value: {expected}"):
        client.register(TRADES)


def test_a_passing_fault_is_tried_again(server: RegistryServer) -> None:
    server.passing = [(503, b"{}"), (500, b"{}")]
    assert RemoteRegistry(server.url, retries=2).register(TRADES) == 1
    assert server.requests[:3] == ["GET /config/md.trades-value"] * 3


def test_user_and_password(server: RegistryServer) -> None:
    server.password = base64.b64encode(b"ann:s3cret").decode()
    address = server.url.removeprefix("http://")
    assert RemoteRegistry(f"http://ann:s3cret@{address}").register(TRADES) == 1
    with pytest.raises(SchemaError, match="Unauthorized") as caught:
        RemoteRegistry(f"http://ann:wr0ng@{address}").register(TRADES)
    assert "wr0ng" not in str(caught.value)
    assert f"http://***@{address}" in str(caught.value)


def test_an_unknown_id_is_asked_for_again_after_a_while(server: RegistryServer) -> None:
    now = 100.0
    client = RemoteRegistry(server.url, clock=lambda: now)
    assert client.schema(1) is None
    RemoteRegistry(server.url).register(TRADES)
    asked = len(server.requests)
    now += UNKNOWN_SECONDS - 1
    assert client.schema(1) is None
    assert len(server.requests) == asked
    now += 1
    found = client.schema(1)
    assert found is not None
    assert found["name"] == "alphapulse.Trade"


def test_garbage_ids_take_no_memory(client: RemoteRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schemas.remote._UNKNOWN_BOUND", 3)
    for schema_id in range(10):
        assert client.schema(schema_id) is None
        assert len(client._unknown) <= 3


def test_an_id_that_no_registry_gives_is_not_asked_for(server: RegistryServer, client: RemoteRegistry) -> None:
    assert client.schema(2**31) is None
    assert client.schema(-1) is None
    assert server.requests == []


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("syntax", "PROTOBUF", "schema 1 is PROTOBUF, not Avro"),
        ("{", "AVRO", "schema 1 is not an Avro schema"),
        ('{"type": "nothing"}', "AVRO", "schema 1 is not an Avro schema"),
        ('"string"', "AVRO", "schema 1 is string, which is not one of our records"),
        ('{"type": "record", "name": "Other", "fields": []}', "AVRO", "is Other, which is not one of our records"),
    ],
)
def test_a_schema_that_is_none_of_ours_is_the_records_fault(
    server: RegistryServer, client: RemoteRegistry, text: str, kind: str, expected: str
) -> None:
    server.schemas[1] = (text, kind)
    value = b"\x00\x00\x00\x00\x01" + Codec().encode(TRADE)[5:]
    with pytest.raises(RecordRefused, match=expected):
        Codec(client).decode(value)


def test_a_refusal_to_tell_a_schema(server: RegistryServer, client: RemoteRegistry) -> None:
    server.failing = (403, b'{"error_code": 40301, "message": "Forbidden"}')
    with pytest.raises(SchemaError, match=r"schema 7: refused: Forbidden \(HTTP 403, code 40301\)"):
        client.schema(7)
