"""Service ``sink-clickhouse``."""

from __future__ import annotations

from alphapulse.kafka import incarnation, reachable
from alphapulse.kafka.services import sink_clickhouse
from alphapulse.service import Service
from sinks.clickhouse.books import keeping
from sinks.clickhouse.endpoint import SqlEndpoint
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.replay_endpoint import ReplayEndpoint
from sinks.clickhouse.sampling import DepthSampling
from sinks.clickhouse.writer import ClickHouseTarget
from sinks.runner import consume


async def serve(service: Service) -> None:
    """Run until the service is asked to stop.

    Raises:
        AlphaPulseError: see :func:`sinks.runner.consume`.
    """
    settings = service.settings
    await reachable(service, sink_clickhouse(settings))
    engine = Engine(settings)

    def waiting(reason: str) -> None:
        service.waiting = reason

    engine.waiting = waiting
    log = await incarnation(settings.kafka)
    target = ClickHouseTarget(
        settings.clickhouse, engine, log, service.stopping, sampling=DepthSampling(settings.clickhouse)
    )
    try:
        await target.open()
        if service.stopping.is_set():
            return
        async with keeping(engine, settings.clickhouse):
            if not engine.embedded:
                await consume(service, target, settings.clickhouse)
                return
            sql = SqlEndpoint(engine)
            try:
                service.route("POST", "/sql", sql.answer)
                service.route("POST", "/replay", ReplayEndpoint(settings, engine, log).answer)
                service.announce(sql=True)
                await consume(service, target, settings.clickhouse)
            finally:
                await sql.close()
    finally:
        await target.close()
