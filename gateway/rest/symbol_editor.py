"""Edits the symbols in the configuration files, one change at a time, and records who did it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from alphapulse import logs
from alphapulse.config import PREFIX
from alphapulse.config.symbols import Change, ChangeRefused, added, applied, removed
from alphapulse.errors import BrokerError
from schemas.records import Event

CHECK_SECONDS: Final = 30.0
_FAULT: Final = "  - "
"""Begins the line of each fault in the output of ``alphapulse check``."""

Audit = Callable[[Event], Awaitable[None]]
"""Publishes an event."""


class SymbolEditor:
    """Adds and removes symbols.

    Args:
        folder: configuration folder; None: the gateway was started without one.
        audit: receives an event for each change.
        clock: ns since the Unix epoch.
        service: name of this service in the events.
    """

    def __init__(
        self, folder: Path | None, audit: Audit, clock: Callable[[], int], *, service: str = "gateway"
    ) -> None:
        self._folder = folder
        self._audit = audit
        self._clock = clock
        self._service = service
        self._turn = asyncio.Lock()
        self._log = logs.get("gateway.symbols")

    async def add(self, venue: str, symbol: str, identity: str) -> Change:
        """Add a symbol.

        Raises:
            ChangeRefused: see :func:`alphapulse.config.symbols.added` and ``applied``.
        """
        return await self._change(added, "symbol_added", venue, symbol, identity)

    async def remove(self, venue: str, symbol: str, identity: str) -> Change:
        """Remove a symbol.

        Raises:
            ChangeRefused: see :func:`alphapulse.config.symbols.removed` and ``applied``.
        """
        return await self._change(removed, "symbol_removed", venue, symbol, identity)

    async def _change(
        self, make: Callable[[Path, str, str], Change], kind: str, venue: str, symbol: str, identity: str
    ) -> Change:
        if self._folder is None:
            raise ChangeRefused("the gateway was started without a configuration folder: there is no file to change")
        async with self._turn:
            change = await asyncio.to_thread(make, self._folder, venue, symbol)
            await applied(self._folder, change, venue_faults)
        self._log.info(kind, venue=venue, symbol=symbol, identity=identity, file=str(change.path))
        event = Event(
            time=self._clock(),
            service=self._service,
            kind=kind,
            severity="INFO",
            venue=venue,
            symbol=symbol,
            message=f"{kind.replace('_', ' ')} by {identity}: {symbol} of {venue} in {change.path.name}",
            details={"identity": identity, "file": change.path.name},
        )
        try:
            await self._audit(event)
        except BrokerError as error:
            # The change is made and in the log: the client must not take it for refused.
            self._log.error("event not published", kind=kind, venue=venue, symbol=symbol, reason=str(error))
        return change


async def venue_faults(folder: Path) -> list[str]:
    """Return the faults of the configuration in ``folder`` by the venues' own rules.

    They are the collectors' (``alphapulse check``), which run as a process of their own: services do not import one
    another.

    Raises:
        ChangeRefused: the rules cannot be applied.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "producers.check",
        env=os.environ | {f"{PREFIX}CONFIG": str(folder)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            _, told = await process.communicate()
    except TimeoutError:
        raise ChangeRefused(f"the venues' rules were not checked within {CHECK_SECONDS:g} s; try again") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode == 0:
        return []
    lines = told.decode(errors="replace").splitlines()
    faults = [line.removeprefix(_FAULT) for line in lines if line.startswith(_FAULT)]
    if not faults:
        raise ChangeRefused(f"the venues' rules cannot be checked: {' '.join(lines)[-300:]}")
    return faults
