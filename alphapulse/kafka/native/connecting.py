"""Connect to a broker: a wrong address is reported soon, a busy broker is waited for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from aiokafka.errors import KafkaConnectionError
from confluent_kafka import KafkaError as Fault
from confluent_kafka import KafkaException

from alphapulse.kafka.native.errors import NO_BROKER, UNREACHABLE, fault_of, translate

OAUTH: Final = "oauth_cb"
"""Property with the callback for tokens."""

C = TypeVar("C")

FIRST_SECONDS: Final = 0.5
LAST_SECONDS: Final = 5.0
"""Timeout of an attempt: doubles from the first to the last. A wrong address shows in the first."""


class Reach:
    """Whether librdkafka reaches a broker; used as its ``error_cb``.

    Attributes:
        fault: why none of the given brokers can be used; None: not reported.
    """

    def __init__(self) -> None:
        self.fault: Fault | None = None

    def __call__(self, fault: Fault) -> None:
        """Record an error of a connection or of the client (called by librdkafka within a poll)."""
        # librdkafka has already logged it.
        if fault.code() in NO_BROKER:
            self.fault = fault


async def made(kind: Callable[..., C], properties: dict[str, Any], logger: logging.Logger) -> C:
    """Return a client of librdkafka; one that needs a token is made in a thread, since it waits for the first.

    Raises:
        KafkaException: the properties are refused, or no token was to be had.
    """
    if OAUTH not in properties:
        return kind(properties, logger=logger)
    return await asyncio.to_thread(kind, properties, logger=logger)


async def connect(attempt: Callable[[float], Awaitable[object]], reach: Reach, servers: str, seconds: float) -> None:
    """Request the topics, by ``attempt`` with a timeout, until a broker answers.

    Raises:
        KafkaError: no broker can be reached, or it refuses, or does not answer within ``seconds``.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    patience = FIRST_SECONDS
    while True:
        try:
            await attempt(patience)
        except KafkaException as error:
            if reach.fault is not None:
                reason = translate(reach.fault)
                raise type(reason)(f"Unable to bootstrap from {servers}: {reason}") from error
            if fault_of(error).code() not in UNREACHABLE:
                raise translate(fault_of(error)) from error
            if loop.time() >= end:
                raise KafkaConnectionError(
                    f"Unable to bootstrap from {servers}: {translate(fault_of(error))}"
                ) from error
            patience = min(patience * 2, LAST_SECONDS)
        else:
            return
