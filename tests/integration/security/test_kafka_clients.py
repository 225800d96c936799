"""Both client libraries on a real Kafka: each way to authenticate, over TLS with our own authority."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from aiokafka import TopicPartition

from alphapulse.cli.acls import Acl
from alphapulse.config import KafkaSettings
from alphapulse.errors import BrokerRefused, BrokerUnavailable
from alphapulse.kafka import consumer, native_consumer, native_producer, producer, running
from alphapulse.kafka.tokens import TokenSource
from alphapulse.kafka.waiting import check
from tests.fixtures.secure_kafka import ON_SECURE_KAFKA, PLAIN_PASSWORD, SecureKafka
from tests.fixtures.token_endpoint import TokenEndpoint, token_endpoint

pytestmark = ON_SECURE_KAFKA

TOPIC = "secured"
BOUND_SECONDS = 60.0


@pytest.fixture
def topic(secure_kafka: SecureKafka) -> str:
    """A topic that ``desk`` may read and write."""
    secure_kafka.create([TOPIC], 1)
    secure_kafka.allow([Acl("desk", "User:desk", "topic", TOPIC, ("Read", "Write"))])
    return TOPIC


async def travels(settings: KafkaSettings, topic: str) -> None:
    """Send a record with each library, and read both with each."""
    await check(settings, [topic])
    partition = TopicPartition(topic, 0)
    values = [f"{library} {time.time_ns()}".encode() for library in ("aiokafka", "librdkafka")]
    async with running(producer(settings, client_id="test"), settings) as sender:
        first = (await sender.send_and_wait(topic, values[0])).offset
    async with running(native_producer(settings, client_id="test"), settings) as native:
        assert native.send(topic, values[1], partition=0)
        await native.flush()
    sent = list(enumerate(values, first))
    for reader in (
        consumer(settings, group_id=None, client_id="test"),
        native_consumer(settings, group_id=None, client_id="test"),
    ):
        async with running(reader, settings) as source:
            source.assign([partition])
            source.seek(partition, first)
            found: list[tuple[int, bytes | None]] = []
            async with asyncio.timeout(BOUND_SECONDS):
                while len(found) < 2:
                    records = (await source.getmany(timeout_ms=500)).get(partition, [])
                    found += [(record.offset, record.value) for record in records]
            assert found == sent


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_scram(secure_kafka: SecureKafka, topic: str, mechanism: str) -> None:
    secure_kafka.user("desk", "scram-secret")
    await travels(secure_kafka.scram("desk", "scram-secret", sasl_mechanism=mechanism), topic)


async def test_plain(secure_kafka: SecureKafka, topic: str) -> None:
    await travels(secure_kafka.scram("desk", PLAIN_PASSWORD, sasl_mechanism="PLAIN"), topic)


async def test_sasl_without_tls(secure_kafka: SecureKafka, topic: str) -> None:
    secure_kafka.user("desk", "scram-secret")
    await travels(secure_kafka.scram("desk", "scram-secret", "CLEAR"), topic)


async def test_a_client_certificate_with_an_encrypted_key(secure_kafka: SecureKafka, topic: str) -> None:
    own = secure_kafka.authority.issue("desk", file="desk-encrypted", password="key-secret")
    settings = secure_kafka.settings(
        "MTLS", ssl_certfile=own.certificate, ssl_keyfile=own.key, ssl_key_password="key-secret"
    )
    await travels(settings, topic)


async def test_a_client_certificate_and_its_key_in_one_file(secure_kafka: SecureKafka, topic: str) -> None:
    own = secure_kafka.authority.issue("desk", file="desk-both")
    await travels(secure_kafka.settings("MTLS", ssl_certfile=own.both), topic)


# --- OAUTHBEARER ---


SECRET = "oauth/secret"


def bearer(broker: SecureKafka, tokens: TokenEndpoint) -> KafkaSettings:
    return broker.scram(
        "desk",
        SECRET,
        sasl_mechanism="OAUTHBEARER",
        sasl_oauth_token_url=tokens.url,
        sasl_oauth_scope="kafka",
    )


async def test_oauthbearer(secure_kafka: SecureKafka, topic: str) -> None:
    async with token_endpoint(SECRET) as tokens:
        await travels(bearer(secure_kafka, tokens), topic)


async def test_a_token_is_kept_while_it_is_fresh(secure_kafka: SecureKafka) -> None:
    async with token_endpoint(SECRET) as tokens:
        source = TokenSource(bearer(secure_kafka, tokens))
        first = await asyncio.to_thread(source.token)
        assert await asyncio.to_thread(source.token) == first
        assert tokens.requests == 1


@pytest.mark.parametrize(
    ("answer", "kind", "told"),
    [
        ((401, {"error": "invalid_client"}), BrokerRefused, r"kafka\.sasl_password.*HTTP 401 \(invalid_client\)"),
        ((200, {"token": "x"}), BrokerRefused, r"kafka\.sasl_oauth_token_url: .* has no access_token"),
        ((200, ["x"]), BrokerRefused, "has no access_token"),
        ((503, {}), BrokerUnavailable, "HTTP 503"),
    ],
)
async def test_an_endpoint_that_gives_no_token(
    secure_kafka: SecureKafka, answer: tuple[int, Any], kind: type[Exception], told: str
) -> None:
    async with token_endpoint(SECRET) as tokens:
        tokens.answer = answer
        with pytest.raises(kind, match=told) as refused:
            await check(bearer(secure_kafka, tokens))
        assert SECRET not in str(refused.value)


async def test_an_endpoint_that_is_away(secure_kafka: SecureKafka) -> None:
    async with token_endpoint(SECRET) as tokens:
        settings = bearer(secure_kafka, tokens)
    with pytest.raises(BrokerUnavailable, match=r"kafka\.sasl_oauth_token_url: .* does not answer"):
        await check(settings)


async def test_renewed_certificates_are_used_without_a_restart(secure_kafka: SecureKafka, topic: str) -> None:
    """aiokafka's clients: the files are read again before each connection."""
    own = secure_kafka.authority.issue("desk", file="desk-renewed", expired=True)
    settings = secure_kafka.settings("MTLS", ssl_certfile=own.both)
    with pytest.raises(BrokerRefused, match=r"kafka\.ssl_certfile: .* refuses the certificate in "):
        await check(settings, [topic])
    made = producer(settings, client_id="test")  # its context has read the expired one
    own.become(secure_kafka.authority.issue("desk", file="desk-next"))
    async with running(made, settings) as sender:
        await sender.send_and_wait(topic, b"with the new certificate")
