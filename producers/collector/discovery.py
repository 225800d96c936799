"""Instrument discovery: a venue's list of instruments, fetched and refreshed to resolve symbol patterns."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from alphapulse.errors import FrameRefused
from alphapulse.instruments import is_pattern
from producers.collector.events import EventLog
from producers.collector.patterns import resolve
from producers.feed.venue import Venue
from producers.net.backoff import Backoff
from producers.net.rest import RestClient

RENEWAL_SECONDS: Final = 3600.0
_NAMED: Final = 50
"""Symbols named in an event; further ones are only counted."""
_LONGEST: Final = 40
"""Maximum length of a name in an event."""


class InstrumentDiscovery:
    """Resolves symbol patterns against a venue's list of instruments.

    Args:
        venue: knows where its list is.
        rest: fetches it.
        changed: called when patterns may match other symbols than before.
        event_log: receives what each pattern matched, names that cannot be symbols, and failures.

    Attributes:
        left_out: names in the last list that have no canonical symbol.
    """

    def __init__(self, venue: Venue, rest: RestClient, changed: Callable[[], None], event_log: EventLog) -> None:
        self._venue = venue
        self._rest = rest
        self._changed = changed
        self._tell = event_log.event
        self._listed: tuple[str, ...] | None = None
        self.left_out: tuple[str, ...] = ()
        self._told: dict[str, tuple[str, ...]] = {}
        self._wake = asyncio.Event()

    def resolve(self, configured: Sequence[str]) -> tuple[str, ...]:
        """Return the symbols matched by ``configured``, as far as the list is known."""
        return resolve(configured, self._listed or ()).symbols

    def is_complete(self, configured: Sequence[str]) -> bool:
        """Whether :meth:`resolve` returns all symbols: there are no patterns, or the list is known."""
        return self._listed is not None or not any(map(is_pattern, configured))

    def wake(self) -> None:
        """Check the configured symbols again: they may contain other patterns."""
        self._wake.set()

    async def keep(self, configured: Callable[[], Sequence[str]]) -> None:
        """Refresh the list while ``configured()`` contains patterns."""
        backoff = Backoff(base=2.0, cap=60.0)
        while True:
            self._wake.clear()
            pause: float | None = None
            if any(map(is_pattern, configured())):
                pause = RENEWAL_SECONDS if await self._renew(configured()) else backoff.next()
                if pause == RENEWAL_SECONDS:
                    backoff.reset()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def _renew(self, configured: Sequence[str]) -> bool:
        listing = self._venue.listing
        if listing is None:
            self._tell(
                "listing_failed",
                "ERROR",
                f"{self._venue.name} has no list of instruments for patterns; list the symbols",
            )
            return True
        body, reason = await self._rest.get(listing.path)
        left_out: list[str] = []
        if body is not None:
            try:
                self._listed = tuple(listing.parse(body, left_out.append))
            except FrameRefused as error:
                body, reason = None, str(error)
        if body is None:
            self._tell("listing_failed", "WARNING", f"cannot fetch the list of instruments: {reason}")
            return False
        self._tell_left_out(tuple(dict.fromkeys(left_out)))
        self._tell_matches(configured)
        self._changed()
        return True

    def _tell_left_out(self, names: tuple[str, ...]) -> None:
        """Report, once per list, the instruments that no pattern can match."""
        if names and names != self.left_out:
            named = ", ".join(repr(name[:_LONGEST]) for name in names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
            self._tell(
                "symbols_left_out",
                "WARNING",
                f"{len(names)} instruments of {self._venue.name} have names that are no valid symbols; patterns ignore "
                f"them: {named}",
                details={"symbols": str(len(names))},
            )
        self.left_out = names

    def _tell_matches(self, configured: Sequence[str]) -> None:
        matched = resolve(configured, self._listed or ()).matched
        for pattern, symbols in matched.items():
            if self._told.get(pattern) == symbols:
                continue
            if symbols:
                named = ", ".join(symbols[:_NAMED]) + (", …" if len(symbols) > _NAMED else "")
                self._tell(
                    "symbols_resolved",
                    "INFO",
                    f"{pattern} matches {len(symbols)} symbols: {named}",
                    details={"pattern": pattern, "symbols": str(len(symbols))},
                )
            else:
                self._tell("symbols_resolved", "WARNING", f"{pattern} matches no instrument of the venue")
        self._told = matched
