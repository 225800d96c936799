"""Tests of the client factories; what a broker makes of them is tested in ``tests/integration/kafka``."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError

from alphapulse.brokers.memory.broker import EmbeddedBroker
from alphapulse.config import KafkaSettings
from alphapulse.errors import BrokerError
from alphapulse.kafka import client, committed, connection, consumer, incarnation, producer, running


def test_plain_connection_names_no_secrets() -> None:
    assert connection(KafkaSettings(bootstrap="a:1,b:2", sasl_password="unused")) == {
        "bootstrap_servers": "a:1,b:2",
        "request_timeout_ms": 30_000,
        "security_protocol": "PLAINTEXT",
    }


def test_sasl_passes_through() -> None:
    settings = KafkaSettings(
        security_protocol="SASL_PLAINTEXT", sasl_mechanism="SCRAM-SHA-512", sasl_username="u", sasl_password="p"
    )
    made = connection(settings)
    assert made["sasl_mechanism"] == "SCRAM-SHA-512"
    assert (made["sasl_plain_username"], made["sasl_plain_password"]) == ("u", "p")
    assert "ssl_context" not in made


def test_tls_verifies_against_the_system_or_the_file_given(tmp_path: Path) -> None:
    context = connection(KafkaSettings(security_protocol="SASL_SSL"))["ssl_context"]
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    missing = tmp_path / "ca.pem"
    with pytest.raises(BrokerError, match=r"kafka\.ssl_cafile: .*ca\.pem: .*No such file"):
        connection(KafkaSettings(security_protocol="SSL", ssl_cafile=missing))
    missing.write_text("no certificate")
    with pytest.raises(BrokerError, match=r"kafka\.ssl_cafile: .*ca\.pem"):
        connection(KafkaSettings(security_protocol="SSL", ssl_cafile=missing))


async def test_clients_of_a_secured_broker_can_be_made() -> None:
    settings = KafkaSettings(security_protocol="SASL_SSL", sasl_username="u", sasl_password="p")
    for made in (
        producer(settings, client_id="test"),
        consumer(settings, "md.l2", group_id="group", client_id="test"),
    ):
        await made.stop()


async def test_incarnation_is_the_configured_one_without_asking() -> None:
    assert await incarnation(KafkaSettings(bootstrap="127.0.0.1:1", incarnation="life-1")) == "life-1"


async def test_incarnation_needs_a_cluster_id(
    broker: EmbeddedBroker, kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def without_id(_: object) -> dict[str, object]:
        return {"cluster_id": None, "brokers": []}

    asked = kafka.model_copy(update={"incarnation": ""})
    assert await incarnation(asked) == broker.incarnation
    monkeypatch.setattr("aiokafka.admin.AIOKafkaAdminClient.describe_cluster", without_id)
    with pytest.raises(BrokerError, match=r"has no cluster id; set kafka\.incarnation"):
        await incarnation(asked)


async def test_a_producer_does_not_wait_for_ever_for_a_broker_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "STOP_SECONDS", 0.2)
    with EmbeddedBroker({"topic": 1}) as broker:
        settings = broker.settings()

        async def lose_the_broker() -> None:
            async with running(producer(settings, client_id="test"), settings) as writer:
                await writer.send_and_wait("topic", b"delivered")
                broker.stop()
                await writer.send("topic", b"never")

        with pytest.raises(BrokerError, match=f"{broker.bootstrap} did not acknowledge the last records"):
            await lose_the_broker()


async def test_a_start_that_is_cut_short_leaves_nothing_open(broker: EmbeddedBroker) -> None:
    """Anything left open would show as a ResourceWarning, an error in our tests."""
    settings = broker.settings()
    entering = asyncio.create_task(
        running(consumer(settings, "md.l2", group_id="group", client_id="test"), settings).__aenter__()
    )
    await asyncio.sleep(0)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering


async def test_a_coordinator_that_refuses_is_told(kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = consumer(kafka, "md.l2", group_id="group", client_id="test")
    async with running(reader, kafka):

        async def refuse(_: object) -> dict[TopicPartition, object]:
            raise GroupAuthorizationFailedError("group")

        monkeypatch.setattr(reader._coordinator, "fetch_committed_offsets", refuse)
        with pytest.raises(BrokerError, match="cannot read the commits of a consumer group"):
            await committed(reader, [TopicPartition("md.l2", 0)])


async def test_a_body_that_fails_fails_as_itself(kafka: KafkaSettings) -> None:
    with pytest.raises(KafkaError, match="from the body"):
        async with running(producer(kafka, client_id="test"), kafka):
            raise KafkaError("from the body")


async def test_a_patient_producer_never_gives_a_batch_up() -> None:
    usual = producer(KafkaSettings(), client_id="t")
    patient = producer(KafkaSettings(), client_id="t", give_up=False)
    for made, waits in ((usual, False), (patient, True)):
        # What aiokafka does to the oldest batch of a partition without a leader: see its drain_by_nodes().
        batch = made._message_accumulator._append_batch(
            made._message_accumulator.create_builder(), TopicPartition("t", 0)
        )
        batch._ctime -= 86_400.0
        assert batch.expired() is not waits
        batch.future.cancel()
        await made.stop()
