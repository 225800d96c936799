"""The security matrix on a real Kafka: each refusal is one message with its key, tried seldom, and mends itself."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka import Consumer, Producer

from alphapulse.cli.acls import Acl, acls
from alphapulse.config import KafkaSettings, Settings
from alphapulse.errors import BrokerRefused
from alphapulse.kafka import reachable
from alphapulse.kafka.native import configuration
from alphapulse.kafka.services import sink_parquet
from alphapulse.kafka.waiting import check
from alphapulse.service import Service
from tests.fixtures.attempts import KAFKA, WATCHED_SECONDS, most_attempts
from tests.fixtures.door import Door, door
from tests.fixtures.secure_kafka import ON_SECURE_KAFKA, PLAIN_PASSWORD, SecureKafka

pytestmark = ON_SECURE_KAFKA


async def refused(settings: KafkaSettings, wanted: Any = ()) -> str:
    with pytest.raises(BrokerRefused) as caught:
        await check(settings, wanted)
    return str(caught.value)


# --- one message, with the key ---


async def test_a_wrong_password(secure_kafka: SecureKafka) -> None:
    secure_kafka.user("desk", "right")
    settings = secure_kafka.scram("desk", "very-wrong")
    message = await refused(settings)
    assert message.startswith(
        f"kafka.sasl_username, kafka.sasl_password: the broker at {settings.bootstrap} refuses the user 'desk' "
        "(SCRAM-SHA-256)"
    )
    assert "very-wrong" not in message


async def test_a_wrong_plain_password(secure_kafka: SecureKafka) -> None:
    message = await refused(secure_kafka.scram("desk", "very-wrong", sasl_mechanism="PLAIN"))
    assert message.startswith("kafka.sasl_username, kafka.sasl_password: ")
    assert "very-wrong" not in message


async def test_an_expired_certificate_of_the_broker(secure_kafka: SecureKafka) -> None:
    settings = secure_kafka.scram("desk", "right", "EXPIRED")
    assert await refused(settings) == (
        f"kafka.bootstrap: {settings.bootstrap}: its certificate is refused: certificate has expired"
    )


async def test_an_unknown_authority(secure_kafka: SecureKafka) -> None:
    settings = secure_kafka.scram("desk", "right", ssl_cafile=secure_kafka.stranger.file)
    message = await refused(settings)
    assert message.startswith(f"kafka.bootstrap: {settings.bootstrap}: its certificate is refused: ")
    assert message.endswith(" (kafka.ssl_cafile)")


async def test_a_wrong_mechanism(secure_kafka: SecureKafka) -> None:
    settings = secure_kafka.scram("desk", "right", "CLEAR", sasl_mechanism="PLAIN")
    assert await refused(settings) == (
        f"kafka.sasl_mechanism: the broker at {settings.bootstrap} does not support PLAIN, "
        "but SCRAM-SHA-256, SCRAM-SHA-512"
    )


async def test_no_client_certificate(secure_kafka: SecureKafka) -> None:
    settings = secure_kafka.settings("MTLS")
    message = await refused(settings)
    assert message.startswith(
        f"kafka.ssl_certfile: the broker at {settings.bootstrap} wants a client certificate, and none is set ("
    )


async def test_a_client_certificate_of_another_authority(secure_kafka: SecureKafka) -> None:
    own = secure_kafka.stranger.issue("desk", file="desk-stranger")
    settings = secure_kafka.settings("MTLS", ssl_certfile=own.both)
    message = await refused(settings)
    assert message.startswith(
        f"kafka.ssl_certfile: the broker at {settings.bootstrap} refuses the certificate in {own.both} ("
    )


async def test_an_expired_client_certificate(secure_kafka: SecureKafka) -> None:
    own = secure_kafka.authority.issue("desk", file="desk-expired", expired=True)
    message = await refused(secure_kafka.settings("MTLS", ssl_certfile=own.both))
    assert message.startswith("kafka.ssl_certfile: ")


async def test_a_missing_right(secure_kafka: SecureKafka, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    secure_kafka.user("desk", "right")
    kafka = secure_kafka.scram("desk", "right")
    message = await refused(kafka, sink_parquet(settings))
    assert message.startswith(
        f"kafka.sasl_username: the broker at {kafka.bootstrap} does not grant the user 'desk' Write on topic dlq, "
    )
    assert message.endswith("; the rights it needs: alphapulse acls")


@pytest.mark.parametrize(
    ("files", "key"),
    [
        ({"ssl_certfile": "none.pem"}, "kafka.ssl_certfile: "),
        ({"ssl_certfile": "own.crt", "ssl_keyfile": "none.key"}, "kafka.ssl_keyfile: "),
        ({"ssl_certfile": "own.crt", "ssl_keyfile": "other.key"}, "kafka.ssl_keyfile: "),
        ({"ssl_certfile": "own.crt", "ssl_keyfile": "locked.key"}, "kafka.ssl_key_password is missing or wrong"),
        ({"ssl_certfile": "locked.pem"}, "kafka.ssl_key_password is missing or wrong"),
        ({"ssl_certfile": "own.crt"}, "kafka.ssl_certfile: "),
        ({"ssl_certfile": "text.pem"}, "not a PEM file"),
        ({"ssl_cafile": "text.pem"}, "kafka.ssl_cafile: "),
    ],
)
async def test_files_that_cannot_be_used(secure_kafka: SecureKafka, files: dict[str, str], key: str) -> None:
    folder = secure_kafka.folder
    secure_kafka.authority.issue("own")
    secure_kafka.authority.issue("other")
    secure_kafka.authority.issue("locked", password="key-secret")
    (folder / "text.pem").write_text("no certificate")
    named: dict[str, Any] = {name: folder / file for name, file in files.items()}
    assert key in await refused(secure_kafka.settings("MTLS", **named))


# --- a service waits, tries seldom, and comes up by itself ---


@dataclass(frozen=True)
class Fault:
    """What is wrong, and how it is mended.

    Attributes:
        kafka: the client's settings.
        told: part of the message.
        mend: does it, on the broker, in files or behind the door.
        listener: what is behind the door at first; empty: the one of ``kafka``.
        tls: of the door itself; None: the listener's.
        connections: of one attempt: a look at the port, TLS with the first requests, the login, the advertised address.
        checked: whether the rights of the Parquet sink are checked as well.
    """

    kafka: KafkaSettings
    told: str
    mend: Callable[[Door], None]
    listener: str = ""
    tls: ssl.SSLContext | None = None
    connections: int = 2
    checked: bool = False


def mended_password(broker: SecureKafka) -> Fault:
    broker.user("desk", "old")
    kafka = broker.scram("desk", "new")
    return Fault(kafka, "kafka.sasl_password", lambda _: broker.user("desk", "new"), connections=3)


def mended_mechanism(broker: SecureKafka) -> Fault:
    """A listener that does not offer it, and then one that does. Its TLS is the door's: CLEAR has none."""

    def mend(entrance: Door) -> None:
        entrance.target, entrance.tls = broker.ports["SASL"], None

    kafka = broker.scram("desk", PLAIN_PASSWORD, sasl_mechanism="PLAIN")
    return Fault(kafka, "kafka.sasl_mechanism", mend, "CLEAR", broker.authority.issue("door").server())


def mended_authority(broker: SecureKafka) -> Fault:
    broker.user("desk", "right")
    file = broker.folder / "authorities.pem"
    file.write_bytes(broker.stranger.file.read_bytes())

    def mend(_: Door) -> None:
        file.write_bytes(broker.authority.file.read_bytes())

    return Fault(broker.scram("desk", "right", ssl_cafile=file), "kafka.ssl_cafile", mend)


def mended_broker_certificate(broker: SecureKafka) -> Fault:
    broker.user("desk", "right")

    def mend(entrance: Door) -> None:
        entrance.target = broker.ports["SASL"]

    told = "its certificate is refused: certificate has expired"
    return Fault(broker.scram("desk", "right"), told, mend, "EXPIRED")


def mended_client_certificate(broker: SecureKafka) -> Fault:
    own = broker.authority.issue("desk", file="desk-mended", expired=True)

    def mend(_: Door) -> None:
        own.become(broker.authority.issue("desk", file="desk-mended-next"))

    return Fault(broker.settings("MTLS", ssl_certfile=own.both), "kafka.ssl_certfile", mend)


def mended_rights(broker: SecureKafka) -> Fault:
    broker.user("desk", "right")

    def mend(_: Door) -> None:
        settings = Settings()
        broker.create(sink_parquet(settings).topics)
        broker.allow(acls(settings, ["sink-parquet"], "User:desk"))

    return Fault(broker.scram("desk", "right"), "alphapulse acls", mend, connections=4, checked=True)


@pytest.mark.parametrize(
    "made",
    [
        mended_password,
        mended_mechanism,
        mended_authority,
        mended_broker_certificate,
        mended_client_certificate,
        mended_rights,
    ],
)
async def test_a_service_comes_up_by_itself(
    secure_kafka: SecureKafka, waiting_service: Any, tmp_path: Path, made: Callable[[SecureKafka], Fault]
) -> None:
    fault = made(secure_kafka)
    target = secure_kafka.ports[fault.listener] if fault.listener else int(fault.kafka.bootstrap.rpartition(":")[2])
    async with door(target, fault.tls) as entrance:
        through = fault.kafka.model_copy(update={"bootstrap": f"127.0.0.1:{entrance.port}"})
        settings = Settings(data_dir=tmp_path, kafka=through)
        wanted: Any = sink_parquet(settings) if fault.checked else ()

        async def work(service: Service) -> None:
            await reachable(service, wanted)

        loop = asyncio.get_running_loop()
        async with waiting_service(settings, work) as waiter:
            began = loop.time()
            await waiter.until_told(fault.told)
            first = waiter.service.waiting
            before = entrance.connections
            await asyncio.sleep(WATCHED_SECONDS)
            assert not waiter.work.done()
            assert waiter.service.waiting == first, "one message, and the same"
            assert entrance.connections > before, "it does not try again"
            attempts = most_attempts(KAFKA, loop.time() - began)
            assert entrance.connections <= attempts * fault.connections, "a storm"
            fault.mend(entrance)
            await waiter.until_up()
            assert waiter.service.waiting == ""


# --- a client that runs, and is refused from then on ---


RUNNING_SECONDS: Final = 4.0

LIBRDKAFKA: Final = 3
"""Connections of a consumer: to the configured address, the broker behind it, the coordinator of its group."""


async def test_a_running_librdkafka_client_is_no_storm(secure_kafka: SecureKafka) -> None:
    """The password changes and the connections break: it tries twice a second, and comes back when it is mended."""
    topic = "counted"
    secure_kafka.user("desk", "first")
    secure_kafka.create([topic], 1)
    secure_kafka.allow([Acl("desk", "User:desk", kind, topic, ("Read",)) for kind in ("topic", "group")])
    settings = secure_kafka.scram("desk", "first", "COUNTED", port=secure_kafka.counted)
    properties = configuration.consumer(
        settings, group_id=topic, client_id="test", fetch_min_bytes=1, fetch_max_wait_ms=100
    )
    sender = Producer({"bootstrap.servers": secure_kafka.cluster.bootstrap})
    async with door(secure_kafka.ports["COUNTED"], port=secure_kafka.counted) as entrance:
        client = Consumer(properties)
        try:
            client.subscribe([topic])
            await receives(client, sender, topic, b"before")
            secure_kafka.user("desk", "second")
            entrance.cut()
            before, began = entrance.connections, time.monotonic()
            while (elapsed := time.monotonic() - began) < RUNNING_SECONDS:
                await asyncio.to_thread(client.poll, 0.1)
            tried = entrance.connections - before
            assert LIBRDKAFKA <= tried <= LIBRDKAFKA + 2 * elapsed, "a storm"
            secure_kafka.user("desk", "first")
            await receives(client, sender, topic, b"after")
        finally:
            await asyncio.to_thread(client.close)


async def receives(client: Consumer, sender: Producer, topic: str, value: bytes) -> None:
    """Send a record as somebody else; return when ``client`` has it."""
    sender.produce(topic, value)
    await asyncio.to_thread(sender.flush, 60)
    async with asyncio.timeout(60):
        while (found := await asyncio.to_thread(client.poll, 0.1)) is None or found.value() != value:
            continue
