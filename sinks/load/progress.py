"""Progress of a load on standard error: a bar on a terminal, else a line now and then, of 80 columns at most."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

LINE_SECONDS: Final = 10.0
WIDTH: Final = 80
_NAME: Final = 24


def short(name: str, width: int = _NAME) -> str:
    """Return a name in at most ``width`` characters: its end is left out."""
    return name if len(name) <= width else f"{name[: width - 1]}…"


class Shown:
    """Shows what is done. A context manager.

    Args:
        quiet: show nothing but messages.
        clock: monotonic seconds.
    """

    def __init__(self, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._quiet = quiet
        self._clock = clock
        self._bar: Progress | None = None
        if self._console.is_terminal and not quiet:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=None),
                TaskProgressColumn(),
                TextColumn("{task.fields[rows]:>11,} rows"),
                TimeRemainingColumn(compact=True),
                console=self._console,
                transient=True,
            )
        self._task: TaskID | None = None
        self._told = 0.0
        self._what = ""
        self._size = 0

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, verb: str, name: str, size: int) -> None:
        """Begin with a file of ``size`` bytes."""
        self._what, self._size, self._told = f"{verb} {short(name)}", max(size, 1), self._clock()
        if self._bar is not None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(self._what, total=self._size, rows=0)

    def at(self, read: int, rows: int) -> None:
        """Show that so many bytes are read, and so many rows done."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=read, rows=rows)
        elif not self._quiet and (now := self._clock()) - self._told >= LINE_SECONDS:
            self._told = now
            self.tell(f"{self._what}: {100 * min(read, self._size) // self._size} %, {rows:,} rows")

    def tell(self, text: str) -> None:
        """Write a line. Paths are not broken."""
        if self._bar is not None:
            self._console.print(text, soft_wrap=True, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)  # noqa: T201
