"""Configuration of librdkafka's clients, derived from ours.

Names and meanings: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
"""

from __future__ import annotations

import logging
import ssl
from typing import Any, Final

from alphapulse.config import KafkaSettings
from alphapulse.errors import BrokerRefused, CertificateError
from alphapulse.kafka.tokens import TokenSource
from alphapulse.tls import read_context
from alphapulse.topics import MAX_RECORD_BYTES

LOGGER: Final = logging.getLogger("librdkafka")
"""Logger of librdkafka's messages: ``%s [%s] %s`` with facility, client and text."""

RECONNECT_MS: Final = 1_000
"""Delay between two connection attempts of the same connection. librdkafka would begin with 100 ms and go up to ten
seconds; but when no broker can be used it begins anew (KIP-899), so that a refused login would be repeated at once."""

MAX_POLL_INTERVAL_MS: Final = 60_000
"""Maximum rebalance time of a member: the longest that a rebalance listener may take."""

PREFETCH_KBYTES: Final = 8 * 1024
"""Size of decompressed records prefetched by librdkafka. One fetch may exceed it by :data:`FETCH_BYTES`."""
PREFETCH_RECORDS: Final = 20_000
"""The same per partition."""
FETCH_BYTES: Final = 4 * 1024 * 1024
"""Compressed size of one response; a larger batch comes alone."""
PARTITION_FETCH_BYTES: Final = 1024 * 1024
"""The same per partition."""
PREFETCH_PAUSE_MS: Final = 20
"""Interval of checks for room; librdkafka's default of a second makes fast readers wait."""

_PATIENT: Final = {
    "message.timeout.ms": 0,
    "queue.buffering.max.messages": 0,
    "queue.buffering.max.kbytes": 2**31 - 1,
}
"""Producer settings: never gives up or refuses a record."""

BATCH_BYTES: Final = 128 * 1024
"""Batch size per partition before compression."""


def connection(settings: KafkaSettings) -> dict[str, Any]:
    """Return address, timeouts and security as properties of any librdkafka client.

    Raises:
        BrokerRefused: a certificate or key file cannot be used.
    """
    properties: dict[str, Any] = {
        "bootstrap.servers": settings.bootstrap,
        "security.protocol": settings.security_protocol,
        # librdkafka requires one second more than the maximum fetch wait.
        "socket.timeout.ms": max(settings.request_timeout_ms, settings.fetch_max_wait_ms + 1_000),
        "reconnect.backoff.ms": RECONNECT_MS,
        "reconnect.backoff.max.ms": RECONNECT_MS,
        # A connection closed by the broker because it is idle need not be logged.
        "log.connection.close": False,
    }
    if settings.security_protocol in ("SSL", "SASL_SSL"):
        properties |= _tls(settings)
    if not settings.security_protocol.startswith("SASL"):
        return properties
    properties["sasl.mechanism"] = settings.sasl_mechanism
    if settings.sasl_mechanism == "OAUTHBEARER":
        properties["oauth_cb"] = TokenSource(settings).for_librdkafka
    else:
        properties["sasl.username"] = settings.sasl_username
        properties["sasl.password"] = settings.sasl_password.get_secret_value()
    return properties


def _tls(settings: KafkaSettings) -> dict[str, Any]:
    """Return the locations of authorities, certificate and key; librdkafka reads them once.

    Raises:
        BrokerRefused: a file cannot be used; librdkafka's own message says no more than that.
    """
    try:
        read_context("kafka", settings)
    except CertificateError as error:
        raise BrokerRefused(str(error)) from error
    if settings.ssl_cafile is not None:
        properties = {"ssl.ca.location": str(settings.ssl_cafile)}
    else:
        # Python's default, including $SSL_CERT_FILE; without it librdkafka tries common locations.
        found = ssl.get_default_verify_paths().cafile
        properties = {"ssl.ca.location": found if found is not None else "probe"}
    if settings.ssl_certfile is not None:
        properties["ssl.certificate.location"] = str(settings.ssl_certfile)
        key = settings.ssl_keyfile if settings.ssl_keyfile is not None else settings.ssl_certfile
        properties["ssl.key.location"] = str(key)
        if secret := settings.ssl_key_password.get_secret_value():
            properties["ssl.key.password"] = secret
    return properties


def consumer(
    settings: KafkaSettings, *, group_id: str, client_id: str, fetch_min_bytes: int, fetch_max_wait_ms: int
) -> dict[str, Any]:
    """Return properties of a consumer that starts at the commit, else at the oldest record, and commits when told.

    Raises:
        BrokerRefused: as for :func:`connection`.
    """
    properties = connection(settings)
    return properties | {
        "client.id": client_id,
        "group.id": group_id,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": False,
        "auto.offset.reset": "earliest",
        # As aiokafka does; our topics have no transactions.
        "isolation.level": "read_uncommitted",
        # Partition n of every topic to the same member, like aiokafka's range assignor.
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


def producer(settings: KafkaSettings, *, client_id: str, linger_ms: float, give_up: bool = True) -> dict[str, Any]:
    """Return properties of a producer that keeps the order within a partition and retries without duplicates.

    Args:
        settings: the broker.
        client_id: shown in the broker's logs and metrics.
        linger_ms: maximum delay of a record to share a batch.
        give_up: fail a record that is not acknowledged within five minutes, and apply librdkafka's own bounds; if not,
            a record waits as long as it takes, and bounds are up to the caller.

    Raises:
        BrokerRefused: as for :func:`connection`.
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
            # The partitioner of aiokafka and Kafka's Java client, so that a key has one partition for all writers.
            "partitioner": "murmur2_random",
        }
    )
