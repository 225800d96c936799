"""The security matrix on a real Kafka: each refusal is one message with its key, tried seldom, and mends itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alphapulse.cli.acls import acls
from alphapulse.config import KafkaSettings, Settings
from alphapulse.errors import BrokerRefused
from alphapulse.kafka import reachable
from alphapulse.kafka.services import sink_parquet
from alphapulse.kafka.waiting import check
from alphapulse.service import Service
from tests.fixtures.door import door
from tests.fixtures.secure_kafka import ON_SECURE_KAFKA, SecureKafka

pytestmark = ON_SECURE_KAFKA

CONNECTIONS = 4
"""Of one attempt: a look at the port, TLS with the first requests, the login, the advertised address."""


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


def mended_password(broker: SecureKafka) -> tuple[KafkaSettings, str, Callable[[], None]]:
    broker.user("desk", "old")
    return broker.scram("desk", "new"), "kafka.sasl_password", lambda: broker.user("desk", "new")


def mended_authority(broker: SecureKafka) -> tuple[KafkaSettings, str, Callable[[], None]]:
    broker.user("desk", "right")
    file = broker.folder / "authorities.pem"
    file.write_bytes(broker.stranger.file.read_bytes())

    def mend() -> None:
        file.write_bytes(broker.authority.file.read_bytes())

    return broker.scram("desk", "right", ssl_cafile=file), "kafka.ssl_cafile", mend


def mended_client_certificate(broker: SecureKafka) -> tuple[KafkaSettings, str, Callable[[], None]]:
    own = broker.authority.issue("desk", file="desk-mended", expired=True)

    def mend() -> None:
        own.become(broker.authority.issue("desk", file="desk-mended-next"))

    return broker.settings("MTLS", ssl_certfile=own.both), "kafka.ssl_certfile", mend


def mended_rights(broker: SecureKafka) -> tuple[KafkaSettings, str, Callable[[], None]]:
    broker.user("desk", "right")
    return broker.scram("desk", "right"), "alphapulse acls", lambda: None


@pytest.mark.parametrize("fault", [mended_password, mended_authority, mended_client_certificate, mended_rights])
async def test_a_service_comes_up_by_itself(
    secure_kafka: SecureKafka,
    waiting_service: Any,
    tmp_path: Path,
    fault: Callable[[SecureKafka], tuple[KafkaSettings, str, Callable[[], None]]],
) -> None:
    kafka, told, mend = fault(secure_kafka)
    target = int(kafka.bootstrap.rpartition(":")[2])
    async with door(target) as entrance:
        through = kafka.model_copy(update={"bootstrap": f"127.0.0.1:{entrance.port}"})
        settings = Settings(data_dir=tmp_path, kafka=through)
        access = sink_parquet(settings)
        wanted: Any = access if fault is mended_rights else ()

        async def work(service: Service) -> None:
            await reachable(service, wanted)

        loop = asyncio.get_running_loop()
        async with waiting_service(settings, work) as waiter:
            began = loop.time()
            await waiter.until_told(told)
            first = waiter.service.waiting
            before = entrance.connections
            while entrance.connections < before + 2 * CONNECTIONS:  # two more attempts, at least
                assert not waiter.work.done()
                await asyncio.sleep(0.05)
            assert waiter.service.waiting == first, "one message, and the same"
            # Attempts after 0, 0.1, 0.3, 0.7, 1.5, 3.1, … seconds: a doubled pause each.
            attempts = 1
            while 0.1 * (2**attempts - 1) < loop.time() - began:
                attempts += 1
            assert entrance.connections <= (attempts + 1) * CONNECTIONS, "a storm"
            mend()
            if fault is mended_rights:
                secure_kafka.create(access.topics)
                secure_kafka.allow(acls(settings, ["sink-parquet"], "User:desk"))
            await waiter.until_up()
            assert waiter.service.waiting == ""
