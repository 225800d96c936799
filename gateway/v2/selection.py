"""Selection of feeds by names and patterns of venues and symbols. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from alphapulse.errors import RequestRefused

ANY: Final = "*"


class FeedKey(NamedTuple):
    """A feed: ``venue`` is None for arbitrage, and for services in alerts and status, ``symbol`` for these two."""

    channel: str
    venue: str | None
    symbol: str | None


MAX_PATTERNS: Final = 20
"""Maximum texts with wildcards in a list: each is tried for each name."""


def _matches(parts: list[str], name: str) -> bool:
    """Return whether ``name`` is made of ``parts`` with any characters between them.

    Not by a regular expression: one takes a tenth of a millisecond to compile, and clients choose the patterns.
    """
    first, last = parts[0], parts[-1]
    start, end = len(first), len(name) - len(last)
    if end < start or not name.startswith(first) or not name.endswith(last):
        return False
    for part in parts[1:-1]:
        # The leftmost place is right: it leaves the most for the parts that follow.
        found = name.find(part, start, end)
        if found < 0:
            return False
        start = found + len(part)
    return True


@dataclass(frozen=True, slots=True)
class Names:
    """Names and patterns of venues or symbols.

    Args:
        texts: as the client gave them.
    """

    texts: tuple[str, ...]
    _exact: frozenset[str] = field(init=False)
    _patterns: tuple[list[str], ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_exact", frozenset(text for text in self.texts if ANY not in text))
        object.__setattr__(self, "_patterns", tuple(text.split(ANY) for text in self.texts if ANY in text))

    @classmethod
    def of(cls, given: str | list[str]) -> Names:
        """Return the names in a request's value.

        Raises:
            RequestRefused: too many of them have wildcards.
        """
        names = cls((given,) if isinstance(given, str) else tuple(dict.fromkeys(given)))
        if len(names._patterns) > MAX_PATTERNS:
            raise RequestRefused(
                "bad_value", f"{len(names._patterns)} texts with wildcards in a list; at most {MAX_PATTERNS}"
            )
        return names

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
        return name in self._exact or any(_matches(parts, name) for parts in self._patterns)


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
