"""Wait for a dependency that is not available yet: a broker, a registry or a database.

A waiting service is alive: its ops server answers, ``/ready`` says no and why, and it stops when asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from alphapulse.errors import AlphaPulseError
from alphapulse.service import Service, Stopped

T = TypeVar("T")

FIRST_PAUSE_SECONDS: Final = 0.1
MOST_PAUSE_SECONDS: Final = 1.0
"""Delay between two attempts: short, so that the service starts soon after its dependency."""

MOST_REFUSED_PAUSE_SECONDS: Final = 10.0
"""The same while access is refused (:attr:`~alphapulse.errors.AlphaPulseError.needs_person`): each attempt is a failed
login, which servers log and count."""


async def until_available(
    service: Service, attempt: Callable[[], Coroutine[Any, Any, T]], *absent: type[AlphaPulseError]
) -> T:
    """Return the result of ``attempt()``, retried while it raises one of ``absent``.

    Raises:
        Stopped: the service was asked to stop.
        AlphaPulseError: any other error, at once.
    """
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            found = await _unless_stopped(service, attempt())
        except absent as error:
            service.waiting = str(error)
            most = MOST_REFUSED_PAUSE_SECONDS if error.needs_person else MOST_PAUSE_SECONDS
        else:
            service.waiting = ""
            return found
        await _unless_stopped(service, asyncio.sleep(min(pause, most)))
        pause = min(pause * 2, most)


async def _unless_stopped(service: Service, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of ``work``, or cancel it as soon as the service is asked to stop."""
    working = asyncio.create_task(work)
    stop = asyncio.create_task(service.stopping.wait())
    try:
        await asyncio.wait({working, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Stopped
        return working.result()
    finally:
        for task in (working, stop):
            task.cancel()
        await asyncio.gather(working, stop, return_exceptions=True)
