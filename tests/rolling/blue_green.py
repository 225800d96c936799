"""Blue and green: a second release beside the first one, given up once, then kept (docs/upgrade.md).

The first release serves. A second one is installed beside it and compared, and goes again: the first takes everything
back. A third one stays: clients are sent to its gateway, and the first one goes. Chdb's and Parquet's folders belong to
one process at a time, so the sinks are the first release's, and move at the end.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Mapping
from typing import Any, Final

import aiohttp

from tests.integration.gateway.protocol.balancer import balancing
from tests.rolling.part import Part
from tests.rolling.play import Restart, Seen, Stage, free_port
from tests.rolling.watch import Watch

SINKS: Final = ("sink-clickhouse", "sink-parquet")
COMPARE_SECONDS: Final = 60.0
"""How long the gateways may differ: the new one's processors take over partitions meanwhile."""


class Release:
    """What of a release runs beside another one: gateway, processors and collectors.

    Args:
        parts: by service.
        port: of the gateway.
    """

    def __init__(self, parts: Mapping[str, Part], port: int, patience: float) -> None:
        self.parts = parts
        self.port = port
        self._patience = patience

    async def start(self) -> None:
        """Start everything at once, as ``helm install`` does, and wait until all of it is ready."""
        for part in self.parts.values():
            await part.start()
        for part in self.parts.values():
            await part.until_ready(self._patience)

    async def stop(self) -> float:
        """Stop everything at once, as ``helm uninstall`` does; return how long the slowest took, in seconds."""
        return max(await asyncio.gather(*(part.stop(self._patience) for part in self.parts.values())))

    async def get(self, path: str) -> Mapping[str, Any]:
        """Return what its gateway's REST answers."""
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://127.0.0.1:{self.port}{path}", raise_for_status=True) as answer,
        ):
            found: Mapping[str, Any] = await answer.json()
            return found


class BlueGreen(Stage):
    """The same stage as of a rolling restart, with releases instead of services."""

    async def run(self) -> tuple[Seen, Watch]:
        """Let it happen, with a balancer between the clients and the gateway of the release that serves."""
        async with balancing(self.port) as self._balancer:
            self.clients_port = self._balancer.port
            return await super().run()

    async def restarts(self, watch: Watch) -> None:
        """Let the second release come and go, and the third one stay."""
        blue = Release(
            {name: self.parts[name] for name in self.services if name not in SINKS}, self.port, self.plan.patience
        )
        green = await self._install(blue, "green beside blue", watch)
        await self._uninstall(green, "green gone", watch)
        green = await self._install(blue, "green again", watch)
        self._balancer.targets[:] = [green.port]
        await self._uninstall(blue, "blue gone", watch)
        self.parts |= green.parts
        for name in SINKS:
            began = time.time_ns()
            stopped = await self.parts[name].stop(self.plan.patience)
            self.parts[name] = self.part(name)
            await self.parts[name].start()
            await self.parts[name].until_ready(self.plan.patience)
            await self._note(f"{name} moved", began, stopped, watch)

    async def _install(self, old: Release, title: str, watch: Watch) -> Release:
        """Install a release beside the old one, and compare what both gateways say."""
        began, port = time.time_ns(), free_port()
        new = Release({name: self.part(name, port) for name in old.parts}, port, self.plan.patience)
        await new.start()
        await self._compare(old, new)
        await self._note(title, began, 0.0, watch)
        return new

    async def _compare(self, old: Release, new: Release) -> None:
        """Compare as a person would before clients are sent to the new release.

        Raises:
            TimeoutError: some answer stays different; what differs was told.
        """
        different: list[str] = []
        try:
            async with asyncio.timeout(COMPARE_SECONDS):
                while different := await self._differences(old, new):
                    await asyncio.sleep(1)
        except TimeoutError:
            for line in different:
                self.tell(line)
            raise

    async def _differences(self, old: Release, new: Release) -> list[str]:
        found = []
        for release in (old, new):
            health = await release.get("/api/v1/system/health")
            if health["status"] != "ok":
                found.append(f"gateway {release.port}: {health['reasons']}")
        for venue, symbol in itertools.product(self.plan.venues, self.plan.symbols):
            path = f"/api/v1/books/{venue}/{symbol}"
            before, after = await old.get(path), await new.get(path)
            if not (before["valid"] and after["valid"] and before["epoch"] == after["epoch"]):
                found.append(f"{venue} {symbol}: {_position(before)} and {_position(after)}")
        return found

    async def _uninstall(self, release: Release, title: str, watch: Watch) -> None:
        began = time.time_ns()
        await self._note(title, began, await release.stop(), watch)

    async def _note(self, title: str, began: int, stop: float, watch: Watch) -> None:
        ready = time.time_ns()
        await self.pause(self.plan.between, watch)
        self.seen.restarts.append(Restart(title, began, time.time_ns(), stop))
        self.tell(f"{title}: {(ready - began) / 1e9:.1f} s")


def _position(book: Mapping[str, Any]) -> str:
    return f"{'valid' if book['valid'] else book['reason']} {book['epoch']}:{book['sequence']}"
