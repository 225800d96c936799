"""Reading to the end within a bound, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord

BOUND_SECONDS = 60.0
"""Nothing here takes a tenth of it, unless it never comes."""


async def read(reader: AIOKafkaConsumer, count: int) -> list[ConsumerRecord]:
    """Return the next ``count`` records (or a few more, if they came together)."""
    found: list[ConsumerRecord] = []
    async with asyncio.timeout(BOUND_SECONDS):
        while len(found) < count:
            for records in (await reader.getmany(timeout_ms=200)).values():
                found += records
    return found


async def write(
    writer: AIOKafkaProducer, topic: str, values: list[bytes], *, partition: int | None = None, key: bytes = b"key"
) -> None:
    """Send ``values`` in order and wait until the broker has them all."""
    sent = [await writer.send(topic, value, key=key, partition=partition) for value in values]
    await asyncio.wait_for(asyncio.gather(*sent), BOUND_SECONDS)


async def until(true: Callable[[], bool], what: str) -> None:
    """Wait until ``true()``."""
    try:
        async with asyncio.timeout(BOUND_SECONDS):
            while not true():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within {BOUND_SECONDS:g} s: {what}") from None
