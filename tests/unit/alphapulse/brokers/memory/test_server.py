"""The in-memory broker's sockets: requests however their bytes come, answers in order, and what is no request."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka.protocol.admin import ApiVersionResponse_v0, ApiVersionResponse_v2
from aiokafka.protocol.fetch import FetchRequest_v11
from aiokafka.protocol.group import JoinGroupRequest_v5, JoinGroupResponse_v5
from aiokafka.protocol.metadata import MetadataRequest_v5, MetadataResponse_v5
from aiokafka.protocol.produce import ProduceRequest_v7
from structlog.testing import capture_logs

from alphapulse.brokers.memory.broker import EmbeddedBroker
from tests.unit.alphapulse.brokers.memory.batches import batch

BOUND_SECONDS = 20.0


class Client:
    """Speaks Kafka's framing by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, bytes]:
        """Return the next answer's correlation id and body."""
        async with asyncio.timeout(BOUND_SECONDS):
            (size,) = struct.unpack(">i", await self.reader.readexactly(4))
            body = await self.reader.readexactly(size)
        return struct.unpack_from(">i", body)[0], body[4:]

    async def ended(self) -> bool:
        """Whether the broker has ended the connection without another byte."""
        async with asyncio.timeout(BOUND_SECONDS):
            try:
                return await self.reader.read() == b""
            except ConnectionResetError:
                return True


@asynccontextmanager
async def client_of(broker: EmbeddedBroker) -> AsyncIterator[Client]:
    host, port = broker.bootstrap.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


def request(key: int, version: int, correlation: int, body: bytes = b"", client: bytes | None = b"test") -> bytes:
    name = struct.pack(">h", -1) if client is None else struct.pack(">h", len(client)) + client
    whole = struct.pack(">hhi", key, version, correlation) + name + body
    return struct.pack(">i", len(whole)) + whole


def fetch(correlation: int, wait_ms: int, offset: int = 0) -> bytes:
    body = FetchRequest_v11(-1, wait_ms, 1, 1 << 20, 0, 0, -1, [("topic", [(0, -1, offset, -1, 1 << 20)])], [], "")
    return request(1, 11, correlation, body.encode())


METADATA = MetadataRequest_v5(["topic", "none"], True).encode()


@pytest.fixture
def broker_topics() -> dict[str, int]:
    return {"topic": 2}


async def test_a_request_may_come_byte_by_byte(broker: EmbeddedBroker) -> None:
    async with client_of(broker) as client:
        for byte in request(3, 5, 1, METADATA):
            client.write(bytes([byte]))
            await client.writer.drain()
            await asyncio.sleep(0)
        number, body = await client.answer()
    told = MetadataResponse_v5.decode(body)
    assert number == 1
    assert [(topic[0], topic[1], len(topic[3])) for topic in told.topics] == [(0, "topic", 2), (3, "none", 0)]
    assert told.cluster_id == broker.incarnation


async def test_requests_that_come_together_are_answered_in_their_order(broker: EmbeddedBroker) -> None:
    async with client_of(broker) as client:
        # The first one waits; what comes behind it waits with it.
        client.write(fetch(1, wait_ms=200) + b"".join(request(3, 5, number, METADATA) for number in (2, 3, 4)))
        assert [(await client.answer())[0] for _ in range(4)] == [1, 2, 3, 4]


async def test_versions_are_told_to_every_client(broker: EmbeddedBroker) -> None:
    async with client_of(broker) as client:
        client.write(request(18, 2, 1, client=None) + request(18, 0, 2) + request(18, 4, 3, b"\x00\x01\x02\x03"))
        new = ApiVersionResponse_v2.decode((await client.answer())[1])
        old = ApiVersionResponse_v0.decode((await client.answer())[1])
        newer = ApiVersionResponse_v0.decode((await client.answer())[1])
    assert (new.error_code, old.error_code, newer.error_code) == (0, 0, 35)
    assert new.api_versions == old.api_versions == newer.api_versions
    assert (1, 11, 11) in new.api_versions


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "a request of 1195725856 bytes"),
        (struct.pack(">i", -5), "a request of -5 bytes"),
        (request(1, 4, 1, b"x"), "request 1 in version 4 is not supported"),
        (request(99, 0, 1), "request 99 in version 0 is not supported"),
        (request(0, 7, 1, b"\x00"), "request 0 in version 7"),
        (request(3, 5, 1, b"\x00\x00"), "request 3 in version 5"),
        (request(11, 5, 1, b"\x7f\xff"), "request 11 in version 5"),
    ],
)
async def test_what_is_no_request_ends_its_connection_and_no_other(
    broker: EmbeddedBroker, sent: bytes, reason: str
) -> None:
    async with client_of(broker) as other, client_of(broker) as client:
        with capture_logs() as logged:
            client.write(sent)
            assert await client.ended()
        assert [line for line in logged if reason in line.get("reason", "")]
        other.write(request(3, 5, 7, METADATA))
        assert (await other.answer())[0] == 7


async def test_who_wants_no_answer_to_what_it_produces_gets_none(broker: EmbeddedBroker) -> None:
    async with client_of(broker) as client:
        batches = bytes(batch([b"value"]))
        client.write(request(0, 7, 1, ProduceRequest_v7(None, 0, 1000, [("topic", [(0, batches)])]).encode()))
        client.write(fetch(2, wait_ms=5_000))
        number, body = await client.answer()
    assert number == 2
    assert b"value" in body


async def test_a_client_that_goes_while_it_waits_leaves_nothing_behind(broker: EmbeddedBroker) -> None:
    async with client_of(broker) as client:
        client.write(fetch(1, wait_ms=60_000))
        await client.writer.drain()
    join = JoinGroupRequest_v5("group", 6_000, 1_000, "", None, "consumer", [("range", b"")]).encode()
    async with client_of(broker) as first, client_of(broker) as second:
        first.write(request(11, 5, 1, join))
        told = JoinGroupResponse_v5.decode((await first.answer())[1])
        second.write(request(11, 5, 1, join))
        await second.writer.drain()
        second.writer.close()
        await second.writer.wait_closed()
        async with client_of(broker) as third:  # what comes after it has been heard, so has its end
            third.write(request(3, 5, 1, METADATA))
            await third.answer()
        # The first one joins again and is not kept waiting for the one that is gone beyond the rebalance time.
        again = JoinGroupRequest_v5("group", 6_000, 1_000, told.member_id, None, "consumer", [("range", b"")])
        first.write(request(11, 5, 2, again.encode()))
        told = JoinGroupResponse_v5.decode((await first.answer())[1])
        assert [member for member, _, _ in told.members] == [told.member_id]


async def test_stopping_ends_all_connections(broker: EmbeddedBroker) -> None:
    async with client_of(broker) as client:
        client.write(fetch(1, wait_ms=60_000))
        await client.writer.drain()
        await asyncio.to_thread(broker.stop)
        assert await client.ended()
