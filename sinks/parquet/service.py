"""The service ``sink-parquet``."""

from __future__ import annotations

from alphapulse.kafka import incarnation
from alphapulse.service import Service
from sinks.parquet.writer import ParquetTarget
from sinks.runner import check_topics, consume


async def serve(service: Service) -> None:
    """Run until the service is asked to stop.

    Raises:
        AlphaPulseError: see :func:`sinks.runner.consume`.
    """
    settings = service.settings
    check_topics("parquet", settings.parquet.topics)
    target = ParquetTarget(settings, await incarnation(settings.kafka))
    try:
        await target.open()
        await consume(service, target, settings.parquet)
    finally:
        await target.close()
