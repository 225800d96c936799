"""Configuration rules of the venues, reported together with all other configuration faults.

Everything that collects loads its configuration here: collectors, ``alphapulse collect``, ``record`` and ``check``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

from alphapulse import config
from alphapulse.config import Settings, VenueSettings
from alphapulse.config.faults import Key
from alphapulse.errors import ArgumentsRefused, ConfigError
from alphapulse.instruments import is_pattern, meant
from producers import registry
from producers.collector import sharding
from producers.feed.venue import Venue

_SECRETS = ("key", "secret")


def load(folder: Path | None = None, *, own: Collection[str] | None = None) -> Settings:
    """Load the configuration and apply the venues' rules.

    Args:
        folder: as in :func:`alphapulse.config.load`.
        own: venues whose API keys must be present; those of other venues may be in the environment of their own
            processes. None: all.

    Raises:
        ConfigError: lists every fault found.
    """
    return config.load(folder, partial(faults, own=own))


def faults(configured: Mapping[str, VenueSettings], own: Collection[str] | None = None) -> list[tuple[Key, str]]:
    """Return the settings that venues do not support, as (key, reason) pairs.

    A disabled venue must exist; the rest of its table is not checked.

    Args:
        configured: the venues' tables.
        own: as in :func:`load`.
    """
    found: list[tuple[Key, str]] = []
    for name, settings in configured.items():
        table = ("venues", name)
        if name not in registry.names():
            found.append((table, registry.unknown(name)))
        elif settings.enabled:
            if not settings.symbols:
                found.append(((*table, "symbols"), "no symbols; add some, or set enabled = false to disable the venue"))
            others = own is not None and name not in own
            said = _refusals(registry.load(name), settings)
            found += [(key, reason) for key, reason in said if not (others and key[-1] in _SECRETS)]
    return found


def selected(settings: Settings, names: Collection[str], folder: Path | None, *, enabled: bool = True) -> None:
    """Check ``names`` of venues given on a command line: configured and, unless ``enabled`` is False, enabled.

    Raises:
        ArgumentsRefused: lists every fault found.
    """
    said: list[str] = []
    for name in names:
        if name not in registry.names():
            said.append(f"{name!r}: {registry.unknown(name)}")
        elif name not in settings.venues:
            place = (
                f"{folder / 'exchanges.toml'}" if folder is not None else "exchanges.toml; give its folder by --config"
            )
            configured = f"; configured: {', '.join(sorted(settings.venues))}" if settings.venues else ""
            said.append(f"{name}: not configured; add its symbols under [venues.{name}] in {place}{configured}")
        elif enabled and not settings.venues[name].enabled:
            said.append(f"{name}: disabled: [venues.{name}] has enabled = false")
    if said:
        raise ArgumentsRefused(said)


def _refusals(venue: Venue, settings: VenueSettings) -> list[tuple[Key, str]]:
    named = tuple(symbol for symbol in settings.symbols if not is_pattern(symbol))
    said: list[str] = []
    if venue.listing is None and len(named) < len(settings.symbols):
        said.append(f"venues.{venue.name}.symbols: the venue has no list of instruments for patterns; list the symbols")
    capacity = min(settings.symbols_per_connection or venue.symbols_per_connection, venue.symbols_per_connection)
    checks = (
        lambda: venue.protocol(settings.model_copy(update={"symbols": named})),
        lambda: sharding.check(venue.name, named, capacity, venue.connections_limit),
    )
    for check in checks:
        try:
            check()
        except ConfigError as error:
            said += error.faults
    return [_parted(fault, named) for fault in said]


def _parted(fault: str, symbols: tuple[str, ...]) -> tuple[Key, str]:
    """Split ``venues.NAME.KEY: reason``, the format of protocols' faults, into key and reason."""
    dotted, _, reason = fault.partition(": ")
    key = tuple(dotted.split("."))
    about = next((symbol for symbol in symbols if repr(symbol) in reason), None)
    return key, reason + (meant(about) if about is not None and "-" not in about else "")
