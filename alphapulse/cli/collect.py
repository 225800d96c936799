"""``alphapulse collect``: collectors of several venues as processes under one supervisor."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence

from alphapulse import config, logs
from alphapulse.errors import ConfigError
from alphapulse.supervisor import ChildSpec, Supervisor


async def collect(venues: Sequence[str]) -> int:
    """Run one collector per venue until a signal comes; one that dies is started again.

    Raises:
        ConfigError: a venue is not configured, or switched off.
        ServiceError: a collector cannot run.
    """
    settings = config.load()
    faults = [
        f"venues.{venue}: {'not enabled' if venue in settings.venues else 'not configured'}"
        f" (configured: {', '.join(sorted(settings.venues)) or 'none'})"
        for venue in venues
        if venue not in settings.venues or not settings.venues[venue].enabled
    ]
    if faults:
        raise ConfigError(faults)
    logs.configure(settings.log, service="collect")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with Supervisor(settings.data_dir) as supervisor:
        for venue in venues:
            await supervisor.start(ChildSpec(f"collector-{venue}", "producers", settings, (venue,)))
        stopped = asyncio.create_task(stop.wait())
        failed = asyncio.create_task(supervisor.failure())
        await asyncio.wait({stopped, failed}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        failed.cancel()
        supervisor.check()
    return 0
