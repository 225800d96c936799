"""Configuration reload of a running collector: validated as a whole, then applied or refused, with an event."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from alphapulse import reload
from alphapulse.config import Settings, VenueSettings
from alphapulse.errors import ConfigError
from producers.collector import rules
from producers.collector.collector import Collector

_SECRET: Final = {"key", "secret"}
_MOST_TOLD: Final = 4000
"""Maximum characters of an event's text."""


def difference(before: VenueSettings, after: VenueSettings) -> dict[str, str]:
    """Return the changes, key → readable text; secrets are not shown."""
    found: dict[str, str] = {}
    for key in VenueSettings.model_fields:
        old, new = getattr(before, key), getattr(after, key)
        if old == new:
            continue
        if key == "symbols":
            added = [symbol for symbol in new if symbol not in old]
            removed = [symbol for symbol in old if symbol not in new]
            words = [f"+ {', '.join(added)}"] * bool(added) + [f"- {', '.join(removed)}"] * bool(removed)
            found[key] = " ".join(words) or "other order"
        else:
            found[key] = "changed" if key in _SECRET else f"{old} → {new}"
    return found


class Follower:
    """Applies configuration changes to one collector.

    Args:
        collector: a running collector.
        settings: the whole configuration it was started with.
        venue: its venue.
    """

    def __init__(self, collector: Collector, settings: Settings, venue: str) -> None:
        self._collector = collector
        self._settings = settings
        self._venue = venue

    async def follow(self, folder: Path) -> None:
        """Watch the files in ``folder`` until cancelled."""
        await reload.follow(folder, self.apply, self.refuse, load=partial(rules.load, own={self._venue}))

    def apply(self, settings: Settings) -> None:
        """Apply ``settings``.

        Raises:
            ConfigError: the venue does not support the settings; nothing was changed.
        """
        # A removed table has the effect of enabled = false.
        wanted = settings.venues.get(self._venue, VenueSettings(enabled=False))
        changes = difference(self._collector.settings, wanted)
        if changes:
            self._collector.reconfigure(wanted)
            text = "; ".join(f"{key}: {words}" for key, words in changes.items())
            self._collector.event_log.event("config_change", "INFO", text[:_MOST_TOLD], details=_short(changes))
        others = sorted(
            key
            for key in Settings.model_fields
            if key != "venues" and getattr(settings, key) != getattr(self._settings, key)
        )
        if others:
            self._collector.event_log.event(
                "config_change", "WARNING", f"restart the collector to apply: {', '.join(others)}"
            )
        self._settings = settings

    def refuse(self, error: ConfigError) -> None:
        """Report why a change is not applied."""
        details = {str(number): fault for number, fault in enumerate(error.faults, start=1)}
        self._collector.event_log.event("config_refused", "ERROR", str(error)[:_MOST_TOLD], details=_short(details))


def _short(details: dict[str, str]) -> dict[str, str]:
    return {key: text[:_MOST_TOLD] for key, text in list(details.items())[:100]}
