"""The first contact with a broker: told soon if the address is wrong, waited for if the broker is busy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from aiokafka.errors import KafkaConnectionError
from confluent_kafka import KafkaError as Fault
from confluent_kafka import KafkaException

from alphapulse.kafka.native.errors import NO_BROKER, UNREACHABLE, fault_of, translate

FIRST_SECONDS: Final = 0.5
LAST_SECONDS: Final = 5.0
"""Time for an attempt: it doubles from the first to the last. A wrong address shows in the first."""


class Reach:
    """Whether librdkafka finds a broker; to be its ``error_cb``.

    Attributes:
        fault: why none of the brokers given can be used; None: that was not told.
    """

    def __init__(self) -> None:
        self.fault: Fault | None = None

    def __call__(self, fault: Fault) -> None:
        """Take note of what befell a connection, or the client as a whole (called by librdkafka within a poll)."""
        # librdkafka has written it to its log.
        if fault.code() in NO_BROKER:
            self.fault = fault


async def connect(attempt: Callable[[float], Awaitable[object]], reach: Reach, servers: str, seconds: float) -> None:
    """Ask for the topics, by ``attempt`` with the time it may take, until a broker answers.

    Raises:
        KafkaError: none can be reached, or it refuses, or none answers within ``seconds``.
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
