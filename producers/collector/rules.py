"""What venues offer, as rules of the configuration: told with all its other faults, at the same places.

Whoever collects loads its configuration here: collectors, ``alphapulse collect``, ``record`` and ``check``.
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
    """Read the configuration, venues' rules included.

    Args:
        folder: as of :func:`alphapulse.config.load`.
        own: the venues whose keys have to be there; those of others may be in their own processes' environment. None:
            all.

    Raises:
        ConfigError: with every fault found.
    """
    return config.load(folder, partial(faults, own=own))


def faults(configured: Mapping[str, VenueSettings], own: Collection[str] | None = None) -> list[tuple[Key, str]]:
    """Return what is asked of venues that they do not offer, (key, reason) each.

    A venue that is switched off has to exist; the rest of its table is not looked at.

    Args:
        configured: the venues' tables.
        own: as of :func:`load`.
    """
    found: list[tuple[Key, str]] = []
    for name, settings in configured.items():
        table = ("venues", name)
        if name not in registry.names():
            found.append((table, registry.unknown(name)))
        elif settings.enabled:
            if not settings.symbols:
                found.append(((*table, "symbols"), "names no symbol; enabled = false switches a venue off"))
            others = own is not None and name not in own
            said = _refusals(registry.load(name), settings)
            found += [(key, reason) for key, reason in said if not (others and key[-1] in _SECRETS)]
    return found


def selected(settings: Settings, names: Collection[str], folder: Path | None, *, enabled: bool = True) -> None:
    """Refuse ``names`` of venues, given on a command line, that are not configured or, unless not ``enabled``, off.

    Raises:
        ArgumentsRefused: with every fault found.
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
            said.append(f"{name}: not configured; its symbols belong in [venues.{name}] of {place}{configured}")
        elif enabled and not settings.venues[name].enabled:
            said.append(f"{name}: not enabled; [venues.{name}] says enabled = false")
    if said:
        raise ArgumentsRefused(said)


def _refusals(venue: Venue, settings: VenueSettings) -> list[tuple[Key, str]]:
    named = tuple(symbol for symbol in settings.symbols if not is_pattern(symbol))
    said: list[str] = []
    if venue.listing is None and len(named) < len(settings.symbols):
        said.append(f"venues.{venue.name}.symbols: the venue lists no instruments for patterns; name the symbols")
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
    """Return key and reason of ``venues.NAME.KEY: reason``, the form in which protocols say it."""
    dotted, _, reason = fault.partition(": ")
    key = tuple(dotted.split("."))
    about = next((symbol for symbol in symbols if repr(symbol) in reason), None)
    return key, reason + (meant(about) if about is not None and "-" not in about else "")
