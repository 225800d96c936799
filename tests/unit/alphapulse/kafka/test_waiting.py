"""Why a broker cannot be used: each wrong address, port, protocol and user is told as such."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from alphapulse import network, topics
from alphapulse.brokers.memory.broker import EmbeddedBroker
from alphapulse.config import KafkaSettings, OpsSettings, Settings
from alphapulse.errors import BrokerError, BrokerUnavailable
from alphapulse.kafka import reachable, waiting
from alphapulse.kafka.waiting import check
from alphapulse.service import Service
from tests.fixtures.scripted_broker import ScriptedBroker, scripted_broker
from tests.fixtures.tls import TlsIdentity

PASSWORD = ScriptedBroker.password
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def at(port: int, **others: Any) -> KafkaSettings:
    return KafkaSettings(bootstrap=f"127.0.0.1:{port}", **others)


def sasl(port: int, *, mechanism: str = "PLAIN", password: str = PASSWORD) -> KafkaSettings:
    return at(
        port,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism=mechanism,
        sasl_username="desk",
        sasl_password=password,
    )


async def unavailable(settings: KafkaSettings, *names: str) -> str:
    with pytest.raises(BrokerUnavailable) as caught:
        await check(settings, names)
    return str(caught.value)


async def refused(settings: KafkaSettings) -> str:
    with pytest.raises(BrokerError) as caught:
        await check(settings)
    assert not isinstance(caught.value, BrokerUnavailable)
    return str(caught.value)


@asynccontextmanager
async def somebody(serve: Serve) -> AsyncIterator[int]:
    """Let somebody listen who is no broker."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def saying(answer: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        writer.close()

    return serve


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


# --- nobody, or somebody else ---


async def test_the_embedded_broker_can_be_used(broker: EmbeddedBroker) -> None:
    await check(broker.settings(), [topics.L2, topics.PROCESSORS_STATE])


async def test_nobody_listens() -> None:
    port = free_port()
    assert await unavailable(at(port)) == f"kafka.bootstrap: 127.0.0.1:{port} does not answer: connection refused"


async def test_a_host_that_does_not_resolve() -> None:
    message = await unavailable(KafkaSettings(bootstrap="redpanda.invalid:9092"))
    expected = (
        "kafka.bootstrap: redpanda.invalid:9092 does not answer: the host name 'redpanda.invalid' does not resolve"
    )
    assert message.startswith(expected)


async def test_each_of_several_addresses_is_told() -> None:
    first, second = free_port(), free_port()
    settings = KafkaSettings(bootstrap=f"127.0.0.1:{first},[::1]:{second}")
    message = await unavailable(settings)
    assert f"127.0.0.1:{first} does not answer: " in message
    assert f"; [::1]:{second} does not answer: " in message


async def test_one_of_several_addresses_is_enough(broker: EmbeddedBroker) -> None:
    await check(KafkaSettings(bootstrap=f"127.0.0.1:{free_port()},{broker.bootstrap}"))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is not a Kafka broker: it answers b'HTTP/1.1'"),
        (b"SSH", "is not a Kafka broker: it answers b'SSH'"),
        (b"\x15\x03\x03\x00\x02\x02\x46\x00", "requires TLS (kafka.security_protocol is PLAINTEXT)"),
        (b"\x15\x03\x03\x00\x02\x02P", "requires TLS (kafka.security_protocol is PLAINTEXT)"),
        (
            b"",
            "closes the connection on a Kafka request; the port may require TLS (kafka.security_protocol is PLAINTEXT)",
        ),
        (b"\x00\x00\x00\x06\x00\x00\x00\x01\x00\x23", "answers the first Kafka request with error 35"),
    ],
)
async def test_somebody_who_is_no_broker(answer: bytes, told: str) -> None:
    async with somebody(saying(answer)) as port:
        assert await unavailable(at(port)) == f"kafka.bootstrap: 127.0.0.1:{port} {told}"


async def test_somebody_who_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "ANSWER_SECONDS", 0.1)
    silent = asyncio.Event()

    async def mute(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()
        writer.close()

    async with somebody(mute) as port:
        message = await unavailable(at(port))
        silent.set()
    assert message.endswith("accepts connections, but does not answer a Kafka request in 0.1 s")


# --- what a broker tells of its cluster ---


async def test_topics_that_are_not_there_yet() -> None:
    async with scripted_broker(ScriptedBroker(topics={topics.L2})) as broker:
        await check(at(broker.port), [topics.L2])
        message = await unavailable(at(broker.port), topics.L2, topics.TRADES, topics.DEPTH)
        assert message == (
            f"the broker at 127.0.0.1:{broker.port} has no topic md.depth, md.trades; "
            "create it with: alphapulse topics create"
        )


async def test_a_broker_that_sends_clients_to_where_nobody_is() -> None:
    gone = free_port()
    there = ScriptedBroker(brokers=[("redpanda.invalid", 9092), ("127.0.0.1", gone)])
    async with scripted_broker(there):
        message = await unavailable(at(there.port))
        assert f"127.0.0.1:{there.port} answers, but advertises addresses that cannot be reached (" in message
        assert "redpanda.invalid:9092: the host name 'redpanda.invalid' does not resolve" in message
        assert f"127.0.0.1:{gone}: connection refused" in message
        # One that can be reached is enough: others may be down.
        async with scripted_broker(ScriptedBroker()) as other:
            there.brokers = [("127.0.0.1", gone), ("127.0.0.1", other.port)]
            await check(at(there.port))


async def test_a_cluster_without_brokers() -> None:
    async with scripted_broker(ScriptedBroker(brokers=[])) as broker:
        assert (await unavailable(at(broker.port))).endswith("answers, but reports no brokers yet")


# --- TLS and SASL ---


async def test_tls(tls_identity: TlsIdentity) -> None:
    async with scripted_broker(ScriptedBroker(), tls_identity.server()) as broker:
        await check(at(broker.port, security_protocol="SSL", ssl_cafile=tls_identity.file))
        message = await refused(at(broker.port, security_protocol="SSL"))
        assert message.startswith(f"kafka.bootstrap: 127.0.0.1:{broker.port}: its certificate is refused: ")
        assert message.endswith("(kafka.ssl_cafile)")
        assert "may require TLS" in await unavailable(at(broker.port))


async def test_no_tls_there(tls_identity: TlsIdentity, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a Kafka request takes the beginning of TLS for one that is still to come: nobody answers."""
    monkeypatch.setattr(network, "CONNECT_SECONDS", 1.0)
    async with scripted_broker(ScriptedBroker()) as broker:
        message = await unavailable(at(broker.port, security_protocol="SSL", ssl_cafile=tls_identity.file))
        assert message.endswith("; the port may not use TLS (kafka.security_protocol is SSL)")


async def test_a_certificate_file_that_cannot_be_read_is_final(tmp_path: Path) -> None:
    message = await refused(at(9, security_protocol="SSL", ssl_cafile=tmp_path / "ca.pem"))
    assert message.startswith("kafka.ssl_cafile: ")


async def test_a_user() -> None:
    async with scripted_broker(ScriptedBroker(mechanisms=("PLAIN", "SCRAM-SHA-512"))) as broker:
        await check(sasl(broker.port))
        message = await refused(sasl(broker.port, password="wrong"))
        assert message.startswith(
            "kafka.sasl_username, kafka.sasl_password: "
            f"the broker at 127.0.0.1:{broker.port} refuses the user 'desk' (PLAIN)"
        )
        assert "wrong" not in message
        assert await refused(sasl(broker.port, mechanism="SCRAM-SHA-256")) == (
            f"kafka.sasl_mechanism: the broker at 127.0.0.1:{broker.port} does not support SCRAM-SHA-256, "
            "but PLAIN, SCRAM-SHA-512"
        )
        assert (await unavailable(at(broker.port))).endswith(
            "it may require a user (kafka.security_protocol is PLAINTEXT)"
        )


async def test_no_sasl_there() -> None:
    async with scripted_broker(ScriptedBroker()) as broker:
        assert (await unavailable(sasl(broker.port))).endswith(
            "does not support SASL on this port (kafka.security_protocol is SASL_PLAINTEXT)"
        )


async def test_a_refusal_of_one_address_is_final_only_if_no_other_does() -> None:
    strict = ScriptedBroker(mechanisms=("PLAIN",), password="other")
    async with scripted_broker(strict), scripted_broker(ScriptedBroker(mechanisms=("PLAIN",))) as kind:
        both = f"127.0.0.1:{strict.port},127.0.0.1:{kind.port}"
        await check(sasl(kind.port).model_copy(update={"bootstrap": both}))
        away = f"127.0.0.1:{strict.port},127.0.0.1:{free_port()}"
        assert "refuses the user" in await refused(sasl(kind.port).model_copy(update={"bootstrap": away}))


# --- a service that waits ---


async def test_a_service_waits_for_the_broker_and_its_topics(tmp_path: Path) -> None:
    broker = ScriptedBroker(port=free_port())
    service = Service("waiter", Settings(data_dir=tmp_path, ops=OpsSettings(), kafka=at(broker.port)))
    work = asyncio.create_task(reachable(service, [topics.L2]))

    async def until_it_waits_for(what: str) -> None:
        async with asyncio.timeout(20):
            while what not in service.waiting:
                assert not work.done()
                await asyncio.sleep(0.01)

    await until_it_waits_for("connection refused")
    async with scripted_broker(broker):
        await until_it_waits_for("has no topic md.l2")
        broker.topics = {topics.L2}
        await asyncio.wait_for(work, 20)
    assert service.waiting == ""
    assert service.begins_again
