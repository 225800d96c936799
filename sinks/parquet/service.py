"""Service ``sink-parquet``."""

from __future__ import annotations

from alphapulse.kafka import incarnation, reachable
from alphapulse.kafka.services import sink_parquet
from alphapulse.service import Service, Stopped
from sinks.parquet.writer import ParquetTarget, Unreachable
from sinks.runner import consume


async def serve(service: Service) -> None:
    """Run until the service is asked to stop.

    Raises:
        AlphaPulseError: see :func:`sinks.runner.consume`.
    """
    settings = service.settings
    await reachable(service, sink_parquet(settings))
    target = ParquetTarget(settings, await incarnation(settings.kafka), service.stopping)

    def waiting(reason: str) -> None:
        service.waiting = reason

    target.waiting = waiting
    try:
        try:
            await target.open()
        except Unreachable as error:
            raise Stopped from error
        await consume(service, target, settings.parquet)
    finally:
        await target.close()
