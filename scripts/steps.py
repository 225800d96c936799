"""Steps of a smoke test: each is taken, timed and told."""

from __future__ import annotations

import time
from collections.abc import Callable


class Failed(Exception):
    """A step found something wrong."""


def run(name: str, step: Callable[[], str | None]) -> bool:
    """Take a step, and print its name, its seconds and what it says; return whether it found nothing wrong."""
    began = time.monotonic()
    try:
        told, good = step() or "", True
    except Exception as error:  # noqa: BLE001 whatever it was: it is told, and what was started is taken down
        told, good = f"FAILED: {error!r}", False
    print(f"{time.monotonic() - began:7.1f} s  {name:<20} {told}", flush=True)
    return good
