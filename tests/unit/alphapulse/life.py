"""A service that does one thing, chosen on its command line: what the tests of :mod:`alphapulse.service` start."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
import warnings

from alphapulse import metrics, service
from alphapulse.errors import BrokerError, BrokerUnavailable, ServiceError
from alphapulse.logs import get
from alphapulse.service import Service
from alphapulse.waiting import until_available


async def idle(running: Service) -> None:
    running.ready = True
    await running.stopping.wait()
    running.log.info("done")


async def slow(running: Service) -> None:
    await running.stopping.wait()
    running.log.info("slow to stop")
    try:
        await asyncio.sleep(600)
    finally:
        running.log.info("cancelled")


async def stumbling(running: Service) -> None:
    await running.stopping.wait()
    try:
        await asyncio.sleep(600)
    finally:
        raise RuntimeError("stumbled")


async def deaf(running: Service) -> None:
    await running.stopping.wait()
    running.log.info("slow to stop")
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            continue


async def blocked(running: Service) -> None:
    await running.stopping.wait()
    await asyncio.sleep(0.05)
    time.sleep(600)  # noqa: ASYNC251 the fault under test


async def broken(_: Service) -> None:
    raise ZeroDivisionError("division of the house")


async def refused(_: Service) -> None:
    raise ServiceError("the thing at place: not today")


async def refused_in_group(_: Service) -> None:
    raise ExceptionGroup("tasks", [ServiceError("first"), ExceptionGroup("more", [BrokerError("second")])])


async def broken_in_group(_: Service) -> None:
    raise ExceptionGroup("tasks", [ServiceError("first"), KeyError("second")])


async def interrupted(_: Service) -> None:
    # As Ctrl-C does where no handler was installed yet.
    signal.raise_signal(signal.SIGINT)
    raise KeyboardInterrupt


async def brief(running: Service) -> None:
    running.log.info("nothing to do")


async def waiting(running: Service) -> None:
    async def attempt() -> None:
        if not (running.settings.data_dir / "there").exists():
            raise BrokerUnavailable("the broker at place is away")

    await until_available(running, attempt, BrokerUnavailable)
    running.ready = True
    await running.stopping.wait()


async def losing(running: Service) -> None:
    """Lose the broker in the first life, as a service that waits for it at its beginning."""
    running.begins_again = True
    lives = running.settings.data_dir / "lives"
    with lives.open("a") as noted:
        noted.write(f"{os.getpid()}\n")
    running.ready = True
    if len(lives.read_text().splitlines()) == 1:
        raise BrokerError("nothing was acknowledged")
    await running.stopping.wait()


async def talkative(running: Service) -> None:
    metrics.DEAD_LETTERS.labels(service="life", error="FrameRefused").inc(3)
    running.log.debug("hidden")
    running.log.warning("text", venue="kraken", price=object, number=7)
    get("other", symbol="BTC-USD").error("bound")
    try:
        int("inner")
    except ValueError:
        running.log.exception("failed once")
    warnings.warn("old thing", DeprecationWarning, stacklevel=1)
    thread = threading.Thread(target=int, args=("seven",), name="worker")
    thread.start()
    thread.join()
    running.announce(extra={"port": 5})
    running.ready = True
    await running.stopping.wait()


MAINS = {
    main.__name__: main
    for main in (
        idle,
        slow,
        stumbling,
        deaf,
        blocked,
        broken,
        refused,
        refused_in_group,
        broken_in_group,
        interrupted,
        brief,
        talkative,
        waiting,
        losing,
    )
}


if __name__ == "__main__":
    if len(sys.argv) > 2:
        service.BEGIN_AGAIN_SECONDS = 0.0
        service.GRACE_SECONDS = service.LAST_GRACE_SECONDS = float(sys.argv[2])
    sys.exit(service.run("life", MAINS[sys.argv[1]]))
