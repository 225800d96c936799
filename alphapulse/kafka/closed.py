"""Treat connections closed by the broker as broken, on uvloop as well.

Between the broker's close of a connection and the moment aiokafka learns of it, a request may still be written.
asyncio's transports ignore that; uvloop's raise RuntimeError, which aiokafka does not expect: it ends the consumer's
coordination or the producer's sender for good, where a broken connection would be reopened
(https://github.com/aio-libs/aiokafka/issues/1038).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

Send = Callable[..., Any]


def _as_broken(send: Send) -> Send:
    @wraps(send)
    def checked(connection: Any, *arguments: Any, **options: Any) -> Any:
        writer = connection._writer  # noqa: SLF001 aiokafka has no other way
        try:
            return send(connection, *arguments, **options)
        except RuntimeError as error:
            if writer is None or not writer.is_closing():
                raise
            connection.close(reason=CloseReason.CONNECTION_BROKEN)
            raise KafkaConnectionError(f"Connection at {connection.host}:{connection.port} broken: {error}") from error

    return checked


def install() -> None:
    """Patch all of aiokafka's clients in this process; idempotent."""
    for name in ("send", "_send_sasl_token"):
        send = getattr(AIOKafkaConnection, name)
        if not hasattr(send, "__wrapped__"):
            setattr(AIOKafkaConnection, name, _as_broken(send))
