"""Translation of librdkafka's errors into aiokafka's, so that callers handle one set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import aiokafka.errors as kafka
from aiokafka.errors import KafkaError
from confluent_kafka import KafkaError as Fault
from confluent_kafka import KafkaException
from confluent_kafka import TopicPartition as Place

_LOCAL: Final[dict[int, type[KafkaError]]] = {
    Fault._TRANSPORT: kafka.KafkaConnectionError,  # noqa: SLF001 librdkafka's own errors have such names
    Fault._ALL_BROKERS_DOWN: kafka.KafkaConnectionError,  # noqa: SLF001
    Fault._RESOLVE: kafka.KafkaConnectionError,  # noqa: SLF001
    Fault._SSL: kafka.KafkaConnectionError,  # noqa: SLF001
    Fault._AUTHENTICATION: kafka.AuthenticationFailedError,  # noqa: SLF001
    Fault._TIMED_OUT: kafka.RequestTimedOutError,  # noqa: SLF001
    Fault._TIMED_OUT_QUEUE: kafka.RequestTimedOutError,  # noqa: SLF001
    Fault._MSG_TIMED_OUT: kafka.KafkaTimeoutError,  # noqa: SLF001
    Fault._WAIT_COORD: kafka.GroupCoordinatorNotAvailableError,  # noqa: SLF001
    Fault._UNKNOWN_TOPIC: kafka.UnknownTopicOrPartitionError,  # noqa: SLF001
    Fault._UNKNOWN_PARTITION: kafka.UnknownTopicOrPartitionError,  # noqa: SLF001
    Fault._ASSIGNMENT_LOST: kafka.CommitFailedError,  # noqa: SLF001
    Fault._BAD_MSG: kafka.CorruptRecordException,  # noqa: SLF001
    Fault._BAD_COMPRESSION: kafka.CorruptRecordException,  # noqa: SLF001
    Fault._STATE: kafka.IllegalStateError,  # noqa: SLF001
    Fault._FENCED: kafka.ProducerFenced,  # noqa: SLF001
}

REFUSED_COMMIT: Final = frozenset(
    {Fault.ILLEGAL_GENERATION, Fault.UNKNOWN_MEMBER_ID, Fault.REBALANCE_IN_PROGRESS, Fault.FENCED_INSTANCE_ID}
)
"""Coordinator's errors for a commit during or after a rebalance."""

UNREACHABLE: Final = frozenset(
    {
        Fault._TRANSPORT,  # noqa: SLF001
        Fault._ALL_BROKERS_DOWN,  # noqa: SLF001
        Fault._RESOLVE,  # noqa: SLF001
        Fault._SSL,  # noqa: SLF001
        Fault._TIMED_OUT,  # noqa: SLF001
        Fault._TIMED_OUT_QUEUE,  # noqa: SLF001
        Fault._WAIT_COORD,  # noqa: SLF001
    }
)
"""Retriable: a broker is unavailable, or does not know the leader yet."""

NO_BROKER: Final = frozenset({Fault._ALL_BROKERS_DOWN, Fault._AUTHENTICATION, Fault._SSL})  # noqa: SLF001
"""librdkafka's own errors, not of a request, when none of its brokers can be used."""


def fault_of(error: KafkaException) -> Fault:
    """Return the error in librdkafka's exception."""
    fault: Fault = error.args[0]
    return fault


def checked(places: Sequence[Place]) -> Sequence[Place]:
    """Return ``places``, a response of the broker, after a check for errors.

    Raises:
        KafkaException: one of them has an error.
    """
    for place in places:
        if place.error is not None:
            raise KafkaException(place.error)
    return places


def translate(fault: Fault) -> KafkaError:
    """Return ``fault`` as aiokafka's exception; a plain KafkaError if aiokafka has no class for it."""
    text = f"{fault.str()} ({fault.name()})"
    code = fault.code()
    if code in _LOCAL:
        return _LOCAL[code](text)
    if code > 0:
        found: type[KafkaError] = kafka.for_code(code)
        return found(text)
    return KafkaError(text)


def commit_error(fault: Fault) -> KafkaError:
    """Return the reason of a failed commit: :class:`CommitFailedError` if refused because of a rebalance."""
    if fault.code() in REFUSED_COMMIT:
        return kafka.CommitFailedError(f"the group has been rebalanced: {fault.str()} ({fault.name()})")
    return translate(fault)
