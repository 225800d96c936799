"""Factories of Kafka clients: addresses, security and delivery guarantees from the configuration.

Bytes in and bytes out; the clients are not started: use them within :func:`running`. :func:`consumer` and
:func:`producer` are aiokafka's. :func:`native_consumer` and :func:`native_producer` use librdkafka behind the same
interface: for low latency at a tenth of the CPU time (:mod:`alphapulse.kafka.native`).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError
from aiokafka.structs import OffsetAndMetadata

from alphapulse.config import KafkaSettings
from alphapulse.errors import BrokerError, BrokerRefused, BrokerUnavailable, CertificateError
from alphapulse.kafka import closed
from alphapulse.kafka.native import configuration
from alphapulse.kafka.native.consumer import NativeConsumer
from alphapulse.kafka.native.producer import NativeProducer
from alphapulse.kafka.tokens import TokenProvider, TokenSource
from alphapulse.tls import RotatingContext
from alphapulse.topics import MAX_RECORD_BYTES

closed.install()

MAX_BATCH_BYTES: Final = 128 * 1024
"""Batch size per partition before compression."""

STOP_SECONDS: Final = 10.0
"""Time for a producer to deliver its last records: aiokafka would wait for ever for an unavailable broker."""


class KafkaClient(Protocol):
    """Common interface of aiokafka's producer, consumer and admin client, except for ``stop``."""

    async def start(self) -> None:
        """Connect."""


C = TypeVar("C", bound=KafkaClient)

AnyConsumer: TypeAlias = "AIOKafkaConsumer | NativeConsumer"
"""Result of :func:`consumer` and :func:`native_consumer`: the interface that we use."""


def connection(settings: KafkaSettings) -> dict[str, Any]:
    """Return address, time limit and security as keyword arguments of any aiokafka client.

    Raises:
        BrokerRefused: a certificate or key file cannot be used.
    """
    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap,
        "request_timeout_ms": settings.request_timeout_ms,
        "security_protocol": settings.security_protocol,
    }
    if settings.security_protocol in ("SSL", "SASL_SSL"):
        try:
            arguments["ssl_context"] = RotatingContext("kafka", settings)
        except CertificateError as error:
            raise BrokerRefused(str(error)) from error
    if not settings.security_protocol.startswith("SASL"):
        return arguments
    arguments["sasl_mechanism"] = settings.sasl_mechanism
    if settings.sasl_mechanism == "OAUTHBEARER":
        arguments["sasl_oauth_token_provider"] = TokenProvider(TokenSource(settings))
    else:
        arguments["sasl_plain_username"] = settings.sasl_username
        arguments["sasl_plain_password"] = settings.sasl_password.get_secret_value()
    return arguments


def producer(
    settings: KafkaSettings, *, client_id: str, linger_ms: float = 5, give_up: bool = True
) -> AIOKafkaProducer:
    """Return a producer that keeps the order of each partition and survives retries without duplicates.

    Keys choose the partition by murmur2, as Kafka's Java client does. Must be called within a running event loop.

    Args:
        settings: the broker.
        client_id: shown in the broker's logs and metrics.
        linger_ms: maximum delay of a record to share a batch.
        give_up: fail records that could not be sent for ``request_timeout_ms`` because their partition has no leader.
            aiokafka waits for every other condition; a restarting broker may report this one.
    """
    made = AIOKafkaProducer(
        **connection(settings),
        client_id=client_id,
        enable_idempotence=True,
        acks="all",
        compression_type=None if settings.compression == "none" else settings.compression,
        linger_ms=linger_ms,
        max_batch_size=MAX_BATCH_BYTES,
        max_request_size=MAX_RECORD_BYTES,
    )
    if not give_up:
        made._message_accumulator._batch_ttl = math.inf  # noqa: SLF001 there is no argument for it
    return made


def consumer(
    settings: KafkaSettings,
    *topics: str,
    group_id: str | None,
    client_id: str,
    listener: ConsumerRebalanceListener | None = None,
    max_poll_records: int | None = None,
    fetch_min_bytes: int = 1,
    fetch_max_wait_ms: int | None = None,
) -> AIOKafkaConsumer:
    """Return a consumer that starts at the group's commit, else at the oldest record, and commits only when told.

    Must be called within a running event loop.

    Args:
        settings: the broker.
        topics: to subscribe to, shared with the other members of the group; none: for ``assign()``.
        group_id: None for a reader without shared partitions and commits.
        client_id: shown in the broker's logs and metrics.
        listener: notified of rebalances; needs a group.
        max_poll_records: maximum records per ``getmany``.
        fetch_min_bytes: minimum size of a fetch response. A fetch costs this client close to a millisecond of CPU time,
            whatever it brings: a reader that writes once a second need not fetch every record separately.
        fetch_max_wait_ms: maximum wait for that; by default ``kafka.fetch_max_wait_ms``.
    """
    made = AIOKafkaConsumer(
        **connection(settings),
        client_id=client_id,
        group_id=group_id,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_min_bytes=fetch_min_bytes,
        fetch_max_wait_ms=settings.fetch_max_wait_ms if fetch_max_wait_ms is None else fetch_max_wait_ms,
        session_timeout_ms=settings.session_timeout_ms,
        heartbeat_interval_ms=settings.heartbeat_interval_ms,
        partition_assignment_strategy=(RangePartitionAssignor,),
        max_poll_records=max_poll_records,
    )
    if topics:
        made.subscribe(topics, listener=listener)
    return made


def native_consumer(
    settings: KafkaSettings,
    *topics: str,
    group_id: str | None,
    client_id: str,
    listener: ConsumerRebalanceListener | None = None,
    max_poll_records: int | None = None,
    fetch_min_bytes: int = 1,
    fetch_max_wait_ms: int | None = None,
    coalesce_ms: float = 0.0,
) -> NativeConsumer:
    """Return a consumer on librdkafka, equivalent to :func:`consumer`'s at a tenth of the CPU time.

    Args:
        coalesce_ms: minimum time between two handovers of records, unless many wait.

    The other arguments are those of :func:`consumer`.

    Raises:
        BrokerRefused: a certificate or key file cannot be used.
    """
    made = NativeConsumer(
        configuration.consumer(
            settings,
            # librdkafka requires a name even without a group; no group is joined.
            group_id=client_id if group_id is None else group_id,
            client_id=client_id,
            fetch_min_bytes=fetch_min_bytes,
            fetch_max_wait_ms=settings.fetch_max_wait_ms if fetch_max_wait_ms is None else fetch_max_wait_ms,
        ),
        group_id=group_id,
        request_timeout_ms=settings.request_timeout_ms,
        max_poll_records=max_poll_records,
        coalesce_ms=coalesce_ms,
    )
    if topics:
        made.subscribe(topics, listener=listener)
    return made


def native_producer(
    settings: KafkaSettings, *, client_id: str, linger_ms: float = 5, give_up: bool = True
) -> NativeProducer:
    """Return a producer on librdkafka, equivalent to :func:`producer`'s: ordered, no duplicates, the same partitioner.

    The arguments are those of :func:`alphapulse.kafka.native.configuration.producer`.

    Raises:
        BrokerRefused: a certificate or key file cannot be used.
    """
    return NativeProducer(
        configuration.producer(settings, client_id=client_id, linger_ms=linger_ms, give_up=give_up),
        request_timeout_ms=settings.request_timeout_ms,
    )


@asynccontextmanager
async def running(client: C, settings: KafkaSettings) -> AsyncIterator[C]:
    """Start ``client`` (producer, consumer or admin client), and stop it at the end.

    Raises:
        BrokerError: the broker cannot be reached or refuses, or accepts no more records: those not acknowledged within
            ``STOP_SECONDS`` of the end may be lost.
    """
    try:
        await client.start()
    except KafkaError as error:
        await _stop(client)
        raise unusable(settings, error) from error
    except BaseException:
        await _stop(client)
        raise
    try:
        yield client
    finally:
        try:
            await asyncio.wait_for(_stop(client), STOP_SECONDS)
        except (TimeoutError, KafkaTimeoutError) as error:
            raise BrokerError(
                f"the broker at {settings.bootstrap} did not acknowledge the last records within {STOP_SECONDS:g} s"
            ) from error


def unusable(settings: KafkaSettings, error: KafkaError) -> BrokerError:
    """Return the error to raise for a client that could not be started."""
    kind = BrokerUnavailable if isinstance(error, KafkaConnectionError) else BrokerError
    return kind(f"kafka.bootstrap: cannot use the broker at {settings.bootstrap}: {error}")


async def _stop(client: Any) -> None:
    await (client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())


def in_group(reader: AnyConsumer) -> bool:
    """Return whether ``reader`` is in a group, and so has commits."""
    if isinstance(reader, NativeConsumer):
        return reader.group_id is not None
    return reader._group_id is not None  # noqa: SLF001 aiokafka does not tell


async def committed(
    reader: AnyConsumer, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, OffsetAndMetadata]:
    """Return offset and metadata of the last commit of ``reader``'s group; a partition without one is left out.

    aiokafka's public ``committed()`` returns only the offset, so this uses an internal part that returns both.

    Raises:
        BrokerError: the group's coordinator refuses.
    """
    try:
        if isinstance(reader, NativeConsumer):
            return await reader.committed_with_metadata(partitions)
        found: dict[TopicPartition, OffsetAndMetadata]
        found = await reader._coordinator.fetch_committed_offsets(list(partitions))  # noqa: SLF001
    except KafkaError as error:
        raise BrokerError(f"cannot read the commits of a consumer group: {error}") from error
    # "No commit" is offset -1 in the protocol. A native consumer's metadata ends with a zero byte.
    return {
        partition: OffsetAndMetadata(commit.offset, commit.metadata.rstrip("\0"))
        for partition, commit in found.items()
        if commit.offset >= 0
    }


async def incarnation(settings: KafkaSettings) -> str:
    """Return the id of this instance of the broker's log: the configured one, else the cluster's id.

    Raises:
        BrokerError: the broker cannot be reached, or has no cluster id.
    """
    if settings.incarnation:
        return settings.incarnation
    async with running(AIOKafkaAdminClient(**connection(settings)), settings) as admin:
        cluster = (await admin.describe_cluster()).get("cluster_id")
    if not cluster:
        raise BrokerError(f"the broker at {settings.bootstrap} has no cluster id; set kafka.incarnation")
    return str(cluster)
