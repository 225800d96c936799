"""Selection of feeds by names and patterns of venues and symbols. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

ANY: Final = "*"


class FeedKey(NamedTuple):
    """A feed: ``venue`` is None for arbitrage, and for services in alerts and status, ``symbol`` for these two."""

    channel: str
    venue: str | None
    symbol: str | None


def _matcher(names: Iterable[str]) -> re.Pattern[str]:
    """Return an expression for all patterns of ``names``; ``*`` in them stands for any characters."""
    # Runs of * are one: otherwise a hostile pattern could cost exponential time.
    alternatives = (
        "[^\\0]*".join(re.escape(part) for part in re.sub(r"\*+", ANY, name).split(ANY))
        for name in names
        if ANY in name
    )
    return re.compile("|".join(alternatives) or r"(?!)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Names:
    """Names and patterns of venues or symbols.

    Args:
        texts: as the client gave them.
    """

    texts: tuple[str, ...]
    _exact: frozenset[str] = field(init=False)
    _patterns: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_exact", frozenset(text for text in self.texts if ANY not in text))
        object.__setattr__(self, "_patterns", _matcher(self.texts))

    @classmethod
    def of(cls, given: str | list[str]) -> Names:
        """Return the names in a request's value."""
        return cls((given,) if isinstance(given, str) else tuple(dict.fromkeys(given)))

    @property
    def exact(self) -> tuple[str, ...]:
        """The names without a wildcard, in order."""
        return tuple(text for text in self.texts if text in self._exact)

    @property
    def open_ended(self) -> bool:
        """Whether a name that is not known yet may match."""
        return any(ANY in text for text in self.texts)

    @property
    def everything(self) -> bool:
        """Whether ``*`` itself is among the patterns."""
        return ANY in self.texts

    def names(self, name: str) -> bool:
        """Return whether ``name`` is given without a wildcard."""
        return name in self._exact

    def match(self, name: str) -> bool:
        """Return whether ``name`` is given or matches a pattern."""
        return name in self._exact or self._patterns.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Selection:
    """Feeds of a channel; None: the channel has no venue, or no symbol."""

    channel: str
    venues: Names | None
    symbols: Names | None

    @property
    def open_ended(self) -> bool:
        """Whether feeds that appear later may match."""
        return any(names is not None and names.open_ended for names in (self.venues, self.symbols))

    def match(self, key: FeedKey) -> bool:
        """Return whether a feed of the channel belongs to the selection."""
        if self.venues is not None and not (
            self.venues.everything if key.venue is None else self.venues.match(key.venue)
        ):
            return False
        return self.symbols is None or (key.symbol is not None and self.symbols.match(key.symbol))

    def names_venue(self, key: FeedKey) -> bool:
        """Return whether the feed's venue is given by name, or the channel has none."""
        return self.venues is None or (key.venue is not None and self.venues.names(key.venue))
