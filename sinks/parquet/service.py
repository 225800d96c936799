"""Service ``sink-parquet``."""

from __future__ import annotations

from alphapulse.kafka import incarnation, reachable
from alphapulse.service import Service
from sinks.parquet.writer import ParquetTarget
from sinks.runner import WRITTEN, consume


async def serve(service: Service) -> None:
    """Run until the service is asked to stop.

    Raises:
        AlphaPulseError: see :func:`sinks.runner.consume`.
    """
    settings = service.settings
    await reachable(service, {*settings.parquet.topics, *WRITTEN})
    target = ParquetTarget(settings, await incarnation(settings.kafka))
    try:
        await target.open()
        await consume(service, target, settings.parquet)
    finally:
        await target.close()
