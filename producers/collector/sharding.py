"""Which symbols share a connection. Pure: what is subscribed and what is wanted in, a plan out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from alphapulse.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Change:
    """How to come from the connections there are to the symbols wanted, moving none.

    Attributes:
        removed: symbols to give up, by index of the connection.
        added: symbols to take up on a connection that has room, by its index.
        opened: symbols of each new connection.
        closed: indices of the connections that nothing is left for.
    """

    removed: dict[int, tuple[str, ...]] = field(default_factory=dict)
    added: dict[int, tuple[str, ...]] = field(default_factory=dict)
    opened: tuple[tuple[str, ...], ...] = ()
    closed: tuple[int, ...] = ()


def split(symbols: Sequence[str], capacity: int, least: int = 1) -> tuple[tuple[str, ...], ...]:
    """Return ``symbols`` in as few parts as hold ``capacity`` each, but at least ``least`` (or one for each symbol).

    Parts differ in length by one at most. Neighbours are dealt out in turn: lists begin with the busiest symbols.
    """
    count = min(max(-(-len(symbols) // capacity), least), len(symbols))
    return tuple(tuple(symbols[index::count]) for index in range(count))


def change(current: Sequence[Iterable[str]], wanted: Iterable[str], capacity: int, *, least: int = 1) -> Change:
    """Return what to do so that the connections hold ``wanted``; a symbol that is on one stays there.

    Args:
        current: symbols of each connection.
        wanted: all symbols from now on.
        capacity: symbols a connection may hold.
        least: connections to open at first.
    """
    target = list(dict.fromkeys(wanted))
    goal = set(target)
    held = [list(symbols) for symbols in current]
    removed = {i: gone for i, symbols in enumerate(held) if (gone := tuple(s for s in symbols if s not in goal))}
    kept = [len(symbols) - len(removed.get(i, ())) for i, symbols in enumerate(held)]
    present = {symbol for symbols in held for symbol in symbols}
    fresh = [symbol for symbol in target if symbol not in present]
    added: dict[int, list[str]] = {}
    for symbol in list(fresh):
        rooms = [i for i, count in enumerate(kept) if 0 < count < capacity]
        if not rooms:
            break
        index = min(rooms, key=kept.__getitem__)
        added.setdefault(index, []).append(symbol)
        kept[index] += 1
        fresh.remove(symbol)
    return Change(
        removed,
        {i: tuple(symbols) for i, symbols in added.items()},
        split(fresh, capacity, least if not any(kept) else 1) if fresh else (),
        tuple(i for i, count in enumerate(kept) if not count),
    )


def check(venue: str, symbols: Sequence[str], capacity: int, connections: int | None) -> None:
    """Check that the venue's connections hold ``symbols``.

    Raises:
        ConfigError: they do not.
    """
    if connections is not None and len(symbols) > capacity * connections:
        room = f"{connections} connections of {capacity} symbols" if connections > 1 else f"{capacity} symbols"
        raise ConfigError([f"venues.{venue}.symbols: {len(symbols)} symbols, but the venue allows {room}"])
