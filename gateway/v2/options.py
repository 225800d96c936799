"""Options of a subscription, as in effect. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from gateway.v2.requests import Position, Selecting
from gateway.v2.selection import FeedKey, Names, Selection


@dataclass(frozen=True, slots=True)
class Options:
    """Options that decide a feed and the form of its messages; those of other channels keep their defaults."""

    levels: int = 20
    interval_ms: int = 0
    checksum: bool = False
    candle_interval: int | None = None


class FeedId(NamedTuple):
    """A feed with the options that decide what its messages say."""

    key: FeedKey
    levels: int
    interval_ms: int
    candle_interval: int | None


OF_CHANNEL: dict[str, tuple[str, ...]] = {
    "book": ("levels", "interval_ms", "checksum"),
    "bbo": ("interval_ms",),
    "l2": ("interval_ms", "checksum"),
    "trades": ("interval_ms",),
    "candles": ("candle_interval",),
    "stats": ("interval_ms",),
}
"""Options of each channel; the others have none."""


def options_of(request: Selecting) -> Options:
    """Return the options in a request."""
    names = OF_CHANNEL.get(request.channel, ())
    return Options(**{name: getattr(request, name) for name in names if hasattr(request, name)})


def shown(channel: str, options: Options) -> dict[str, Any]:
    """Return the options in effect, for ``subscribed``."""
    return {name: getattr(options, name) for name in OF_CHANNEL.get(channel, ())}


def selection_of(request: Selecting) -> Selection:
    """Return the feeds that a request selects."""
    venue, symbol = getattr(request, "venue", None), getattr(request, "symbol", None)
    return Selection(
        request.channel, None if venue is None else Names.of(venue), None if symbol is None else Names.of(symbol)
    )


def positions_of(request: Selecting) -> dict[tuple[str, str], Position]:
    """Return the client's positions by venue and symbol; of one given twice the last."""
    since: list[Position] = getattr(request, "since", [])
    return {(position.venue, position.symbol): position for position in since}
