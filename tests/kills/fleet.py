"""The instances of one sink, and what befalls them."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from alphapulse.config import Settings
from tests.fixtures.sink_process import Process
from tests.kills.progress import Progress

MOMENT_SECONDS: Final = 10.0
"""The longest wait for something to happen in a folder."""
START_SECONDS: Final = 4.0
"""An instance that starts is killed within this time: while it imports, joins, settles plans or reads its first."""
DOWN_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 0.001

TRACES: Final = {
    "removed an uncommitted file": "uncommitted files removed",
    "rows of a planned block are missing": "blocks completed row by row",
    "commit refused, the partitions are moving; records will be read again": "commits refused",
    "gave up a write; its records will be read again": "writes given up",
}
"""What the log of a sink says of the moments at which it was killed, and what that means."""


CUT_SHORT: Final = "cut short"
"""Said by a service that did not stop within its time limit, and ended at once."""


class Ended(AssertionError):
    """An instance ended that nobody had ended."""


class Fleet:
    """Instances that share a group and the place of their rows.

    Args:
        name: for the report.
        instances: those that are killed.
        guest: joins and leaves in good order; None: instances take turns in that.
        watched: folder, and patterns of folders in it where something changes when rows are stored.

    Attributes:
        kills: moment → how many instances were killed at it.
        joined, left: the same in good order.
    """

    def __init__(
        self,
        name: str,
        instances: Sequence[Process],
        guest: Process | None,
        watched: tuple[Path, tuple[str, ...]],
    ) -> None:
        self.name = name
        self.instances = list(instances)
        self.guest = guest
        self.kills: Counter[str] = Counter()
        self.joined = self.left = 0
        self._watched = watched
        self._up: set[Process] = set()
        self._turn = asyncio.Lock()

    @property
    def settings(self) -> Settings:
        """Settings of the first instance."""
        return self.instances[0].settings

    @property
    def every(self) -> list[Process]:
        """All instances, the guest too."""
        return [*self.instances, *([self.guest] if self.guest is not None else [])]

    def start(self, process: Process) -> None:
        """Start an instance."""
        process.start()
        self._up.add(process)

    def check(self) -> None:
        """Raise if an instance ended by itself.

        Raises:
            Ended: with the end of its log.
        """
        for process in self._up:
            if not process.alive():
                raise Ended(f"{self.name}: an instance ended by itself: {log_end(process)}")

    async def kill(self, chance: random.Random, moment: str, *, all_at_once: bool = False) -> Process:
        """Wait for a moment, kill an instance (or all) and start it again soon; return it."""
        await self._moment(chance, moment)
        async with self._turn:
            self.check()
            working = [one for one in self.instances if (await asyncio.to_thread(one.status)).get("partitions", 0)]
            victims = self.instances if all_at_once else [chance.choice(working or self.instances)]
            await self._strike(chance, victims, f"{moment}, all at once" if all_at_once else moment)
            return victims[0]

    async def kill_at_start(self, chance: random.Random, process: Process) -> None:
        """Kill an instance that was just started."""
        await asyncio.sleep(chance.uniform(0.0, START_SECONDS))
        async with self._turn:
            self.check()
            await self._strike(chance, [process], "at its start")

    async def _strike(self, chance: random.Random, victims: Sequence[Process], moment: str) -> None:
        for victim in victims:
            self._up.discard(victim)
            victim.kill()
        self.kills[moment] += len(victims)
        await asyncio.sleep(chance.uniform(0.0, DOWN_SECONDS))
        for victim in victims:
            self.start(victim)

    async def _moment(self, chance: random.Random, moment: str) -> None:
        root, patterns = self._watched
        if moment in patterns:
            await asyncio.to_thread(wait_for_change, root, moment, MOMENT_SECONDS)
        else:
            await asyncio.sleep(chance.uniform(0.0, 0.5))

    async def suffer(self, kills: int, progress: Progress, seed: int) -> None:
        """Be killed ``kills`` times, spread over all messages."""
        chance = random.Random(seed)
        group = _group(self)
        moments = ("at any time", *self._watched[1])
        newest: Process | None = None
        while (number := self.kills.total()) < kills:
            if newest is not None and chance.randrange(4) == 0:
                await self.kill_at_start(chance, newest)
                newest = None
                continue
            await self._reaches(progress, group, (number + chance.random()) / (kills + 1))
            together = number + len(self.instances) <= kills and chance.randrange(6) == 0
            newest = await self.kill(chance, chance.choice(moments), all_at_once=together)

    async def visits(self, progress: Progress, patience: float) -> None:
        """Let an instance join and leave in good order, twice."""
        group = _group(self)
        for joins, leaves in ((0.2, 0.35), (0.6, 0.75)):
            await self._reaches(progress, group, joins)
            if self.guest is not None:
                self.start(self.guest)
                self.joined += 1
                await self._joined(self.guest, patience)
                await self._reaches(progress, group, leaves)
                await self.stop(self.guest, patience)
                continue
            async with self._turn:
                await self._joined(self.instances[0], patience)
                await self.stop(self.instances[0], patience)
                self.start(self.instances[0])
                self.joined += 1

    async def _joined(self, process: Process, patience: float) -> None:
        """Wait until an instance has partitions: before it can be asked to stop, it has to have started."""
        deadline = time.monotonic() + patience
        while not (await asyncio.to_thread(process.status)).get("partitions", 0):
            self.check()
            if time.monotonic() > deadline:
                raise Ended(f"{self.name}: an instance got no partitions in {patience:g} s: {log_end(process)}")
            await asyncio.sleep(0.1)

    async def _reaches(self, progress: Progress, group: str, share: float) -> None:
        waiting = asyncio.ensure_future(progress.reaches(group, share))
        try:
            while not waiting.done():
                await asyncio.wait({waiting}, timeout=1.0)
                self.check()
            waiting.result()
        finally:
            waiting.cancel()

    async def stored(self, progress: Progress) -> None:
        """Wait until everything is committed."""
        await self._reaches(progress, _group(self), 1.0)

    async def stop(self, process: Process, patience: float) -> None:
        """Stop an instance in good order.

        Raises:
            Ended: its exit code is not 0, and it was not cut short.
        """
        self.check()
        self._up.discard(process)
        code = await asyncio.to_thread(process.stop, patience)
        self.left += 1
        if code and CUT_SHORT in log_end(process):
            self.kills["at its stop, by itself"] += 1  # on a busy machine; whoever starts next goes on from there
        elif code:
            raise Ended(f"{self.name}: an instance ended with code {code} when it was asked to: {log_end(process)}")

    async def stop_all(self, patience: float) -> None:
        """Stop what runs."""
        for process in sorted(self._up, key=self.every.index):
            await self.stop(process, patience)

    def end(self) -> None:
        """End whatever still runs."""
        for process in self.every:
            process.kill()
            process.log.close()

    def traces(self) -> Counter[str]:
        """Return what the logs say of the moments of the kills."""
        found: Counter[str] = Counter()
        for process in self.every:
            with Path(process.log.name).open("rb") as log:
                for line in log:
                    try:
                        told = json.loads(line)
                    except ValueError:  # the last line of a killed process may be cut
                        continue
                    if (meaning := TRACES.get(told.get("event", ""))) is not None:
                        found[meaning] += 1
                    elif told.get("event") == "assigned" and told.get("planned"):
                        found["plans of dead instances settled"] += 1
        return found


def _group(fleet: Fleet) -> str:
    settings = fleet.settings
    return (settings.parquet if fleet.instances[0].target == "parquet" else settings.clickhouse).group


def log_end(process: Process, lines: int = 5) -> str:
    """Return the end of an instance's log."""
    text = Path(process.log.name).read_text(encoding="utf-8", errors="replace")
    return "\n".join(text.splitlines()[-lines:])


def wait_for_change(root: Path, pattern: str, seconds: float) -> bool:
    """Wait until a name is made, changed or removed in one of the folders that match; return whether one was."""
    deadline = time.monotonic() + seconds
    before = _changed(root, pattern)
    while time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        if _changed(root, pattern) != before:
            return True
    return False


def _changed(root: Path, pattern: str) -> dict[str, int]:
    """Return folder → when a name in it was made, changed or removed."""
    found: dict[str, int] = {}
    for path in root.glob(pattern):
        try:
            found[str(path)] = path.stat().st_mtime_ns
        except FileNotFoundError:  # removed since it was listed
            continue
    return found
