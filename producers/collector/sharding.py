"""Assignment of symbols to connections. Pure: computes a plan from the current and the wanted symbols."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from alphapulse.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Change:
    """Plan from the current connections to the wanted symbols, without moving any.

    Attributes:
        removed: symbols to unsubscribe, by connection index.
        added: symbols to subscribe on an existing connection, by index.
        opened: symbols of each new connection.
        closed: indices of the connections left without symbols.
    """

    removed: dict[int, tuple[str, ...]] = field(default_factory=dict)
    added: dict[int, tuple[str, ...]] = field(default_factory=dict)
    opened: tuple[tuple[str, ...], ...] = ()
    closed: tuple[int, ...] = ()


def split(symbols: Sequence[str], capacity: int, least: int = 1) -> tuple[tuple[str, ...], ...]:
    """Return ``symbols`` split into the fewest parts of at most ``capacity``, but at least ``least`` parts if possible.

    Part lengths differ by at most one. Symbols are dealt out round-robin: lists usually begin with the busiest ones.
    """
    count = min(max(-(-len(symbols) // capacity), least), len(symbols))
    return tuple(tuple(symbols[index::count]) for index in range(count))


def change(current: Sequence[Iterable[str]], wanted: Iterable[str], capacity: int, *, least: int = 1) -> Change:
    """Return the plan that makes the connections hold ``wanted``; a symbol already held is not moved.

    Args:
        current: symbols of each connection.
        wanted: all symbols wanted.
        capacity: maximum symbols per connection.
        least: minimum number of connections to open at first.
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
    """Check that the venue's connections can hold ``symbols``.

    Raises:
        ConfigError: they cannot.
    """
    if connections is not None and len(symbols) > capacity * connections:
        room = f"{connections} connections of {capacity} symbols" if connections > 1 else f"{capacity} symbols"
        raise ConfigError([f"venues.{venue}.symbols: {len(symbols)} symbols, but the venue allows {room}"])
