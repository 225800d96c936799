"""The configuration of librdkafka's clients, made from ours.

Names and meanings: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
"""

from __future__ import annotations

import logging
import ssl
from typing import Any, Final

from alphapulse.config import KafkaSettings
from alphapulse.errors import BrokerError
from alphapulse.topics import MAX_RECORD_BYTES

LOGGER: Final = logging.getLogger("librdkafka")
"""Gets the lines of librdkafka itself: ``%s [%s] %s`` with facility, client and text."""

RECONNECT_MAX_MS: Final = 1_000
"""The longest pause between two attempts to reach a broker that is away; librdkafka's own is ten seconds."""

MAX_POLL_INTERVAL_MS: Final = 60_000
"""How long a group waits for a member that is being rebalanced: the longest that a rebalance listener may take."""

PREFETCH_KBYTES: Final = 8 * 1024
"""Of records, decompressed, that librdkafka keeps ready. One fetch may go beyond it by :data:`FETCH_BYTES`."""
PREFETCH_RECORDS: Final = 20_000
"""Of one partition, likewise."""
FETCH_BYTES: Final = 4 * 1024 * 1024
"""Of one answer, compressed; a batch that is larger comes alone."""
PARTITION_FETCH_BYTES: Final = 1024 * 1024
"""Of one partition in an answer, likewise."""
PREFETCH_PAUSE_MS: Final = 20
"""Between two looks whether there is room for more; librdkafka's own is a second, and a reader that is quick waits."""

_PATIENT: Final = {
    "message.timeout.ms": 0,
    "queue.buffering.max.messages": 0,
    "queue.buffering.max.kbytes": 2**31 - 1,
}
"""A producer that never gives a record up, nor refuses one."""

BATCH_BYTES: Final = 128 * 1024
"""Of one partition's records before compression."""


def connection(settings: KafkaSettings) -> dict[str, Any]:
    """Return address, time limits and security as properties of any client of librdkafka.

    Raises:
        BrokerError: ``ssl_cafile`` cannot be read.
    """
    properties: dict[str, Any] = {
        "bootstrap.servers": settings.bootstrap,
        "security.protocol": settings.security_protocol,
        # librdkafka wants a second more than a fetch may wait.
        "socket.timeout.ms": max(settings.request_timeout_ms, settings.fetch_max_wait_ms + 1_000),
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": RECONNECT_MAX_MS,
        # A connection that the broker closes because it is idle is no news.
        "log.connection.close": False,
    }
    if settings.security_protocol in ("SSL", "SASL_SSL"):
        properties |= _authorities(settings)
    if settings.security_protocol.startswith("SASL"):
        properties["sasl.mechanism"] = settings.sasl_mechanism
        properties["sasl.username"] = settings.sasl_username
        properties["sasl.password"] = settings.sasl_password.get_secret_value()
    return properties


def _authorities(settings: KafkaSettings) -> dict[str, Any]:
    """Return where the certificates are that a broker's is checked against."""
    try:
        # librdkafka says of a bad file only that it could not be used.
        ssl.create_default_context(cafile=settings.ssl_cafile)
    except OSError as error:
        raise BrokerError(f"kafka.ssl_cafile: {settings.ssl_cafile}: {error}") from error
    if settings.ssl_cafile is not None:
        return {"ssl.ca.location": str(settings.ssl_cafile)}
    # What Python's own clients use, $SSL_CERT_FILE included; without it librdkafka tries the usual places.
    found = ssl.get_default_verify_paths().cafile
    return {"ssl.ca.location": found if found is not None else "probe"}


def consumer(
    settings: KafkaSettings, *, group_id: str, client_id: str, fetch_min_bytes: int, fetch_max_wait_ms: int
) -> dict[str, Any]:
    """Return the properties of a consumer that starts at the commit, else at the oldest record, and commits when told.

    Raises:
        BrokerError: as for :func:`connection`.
    """
    properties = connection(settings)
    return properties | {
        "client.id": client_id,
        "group.id": group_id,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": False,
        "auto.offset.reset": "earliest",
        # As aiokafka reads; our topics have no transactions.
        "isolation.level": "read_uncommitted",
        # Partition n of every topic to the same member, as aiokafka shares them out by range.
        "partition.assignment.strategy": "range",
        "session.timeout.ms": settings.session_timeout_ms,
        "heartbeat.interval.ms": settings.heartbeat_interval_ms,
        "max.poll.interval.ms": max(MAX_POLL_INTERVAL_MS, settings.session_timeout_ms),
        "socket.timeout.ms": max(properties["socket.timeout.ms"], fetch_max_wait_ms + 1_000),
        "fetch.wait.max.ms": fetch_max_wait_ms,
        "fetch.min.bytes": fetch_min_bytes,
        "fetch.max.bytes": FETCH_BYTES,
        "max.partition.fetch.bytes": PARTITION_FETCH_BYTES,
        "queued.max.messages.kbytes": PREFETCH_KBYTES,
        "queued.min.messages": PREFETCH_RECORDS,
        "fetch.queue.backoff.ms": PREFETCH_PAUSE_MS,
    }


def producer(settings: KafkaSettings, *, client_id: str, linger_ms: int, give_up: bool = True) -> dict[str, Any]:
    """Return the properties of a producer that keeps the order of each partition and survives retries without doubles.

    Args:
        settings: the broker.
        client_id: as it shows in the broker's logs and metrics.
        linger_ms: how long a record may wait for others to share its batch.
        give_up: fail a record that is not acknowledged for five minutes, and bound by librdkafka's own measure what
            waits; if not, a record waits as long as it takes, and the bounds are the caller's.

    Raises:
        BrokerError: as for :func:`connection`.
    """
    patience = {} if give_up else dict(_PATIENT)
    return (
        connection(settings)
        | patience
        | {
            "client.id": client_id,
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": settings.compression,
            "linger.ms": linger_ms,
            "batch.size": BATCH_BYTES,
            "message.max.bytes": MAX_RECORD_BYTES,
            # As aiokafka and Kafka's Java client choose it, so that a key has one partition whoever writes.
            "partitioner": "murmur2_random",
        }
    )
