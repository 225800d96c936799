"""Background tasks of a collector, with the first error among them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class BackgroundTasks:
    """Set of tasks that are not awaited individually.

    Attributes:
        fault: fails with the first error of a task; otherwise never done.
    """

    def __init__(self) -> None:
        self.fault: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work``."""
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not self.fault.done():
            self.fault.set_exception(error)
