"""Which rows a request asks for, and the cursor that continues it. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias

import orjson

from alphapulse.errors import RequestRefused
from gateway.datasets.times import nanoseconds

Order: TypeAlias = Literal["asc", "desc"]
Key: TypeAlias = tuple[int | str, ...]
"""Position of a row: its time (ns) and what tells rows of one time apart. No two rows have the same."""

CURSOR_CHARACTERS: Final = 2000
_BAD: Final = "bad_cursor"


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows of a half-open time range.

    Attributes:
        begin, end: ns; ``begin <= time < end``; None: unbounded.
        order: by time.
        filters: filter name → value.
        position: the page begins after the row with this key; None: it is the first.
    """

    begin: int | None = None
    end: int | None = None
    order: Order = "desc"
    filters: Mapping[str, str | int] = field(default_factory=dict)
    position: Key | None = None

    @property
    def descending(self) -> bool:
        return self.order == "desc"

    def after(self, position: Key | None) -> Selection:
        """Return the selection of the rows that follow ``position``."""
        return replace(self, position=position)

    def has(self, key: Key) -> bool:
        """Return whether the row with ``key`` is in the range and beyond the position."""
        time = int(key[0])
        if (self.begin is not None and time < self.begin) or (self.end is not None and time >= self.end):
            return False
        if self.position is None:
            return True
        return key < self.position if self.descending else key > self.position


def selected(begin: str | None, end: str | None, order: Order, filters: Mapping[str, str | int | None]) -> Selection:
    """Return the selection of query parameters.

    Raises:
        RequestRefused: ``bad_value``; a time is none, or the range ends before it begins.
    """
    first = None if begin is None else nanoseconds("from", begin)
    last = None if end is None else nanoseconds("to", end)
    if first is not None and last is not None and last < first:
        raise RequestRefused("bad_value", f"query to: must not be before from ({begin}), found {end}")
    kept = {name: value for name, value in filters.items() if value is not None}
    return Selection(first, last, order, kept)


def cursor_of(dataset: str, selection: Selection) -> str:
    """Return the cursor that continues at ``selection``; opaque to clients."""
    fields = [dataset, selection.begin, selection.end, selection.order, dict(selection.filters), selection.position]
    return base64.urlsafe_b64encode(orjson.dumps(fields)).rstrip(b"=").decode()


def continued(dataset: str, cursor: str, given: Selection) -> Selection:
    """Return the selection that ``cursor`` continues.

    Args:
        dataset: name.
        cursor: as returned by :func:`cursor_of`.
        given: what the request says besides; a cursor continues the same request only.

    Raises:
        RequestRefused: ``bad_cursor``; it was not made here, or for another request.
    """
    try:
        name, begin, end, order, filters, position = _fields(cursor)
        found = Selection(begin, end, order, filters, position)
    except (ValueError, TypeError, binascii.Error):
        raise RequestRefused(_BAD, f"query cursor: not a `next` of this interface, found {cursor[:60]!r}") from None
    if name != dataset or found.order != given.order or dict(found.filters) != dict(given.filters):
        raise RequestRefused(_BAD, "query cursor: of another request; repeat the request's own filters and order")
    for word, told, asked in (("from", found.begin, given.begin), ("to", found.end, given.end)):
        if asked is not None and asked != told:
            raise RequestRefused(_BAD, f"query {word}: differs from the request that the cursor continues")
    return found


def _fields(cursor: str) -> tuple[str, int | None, int | None, Order, dict[str, str | int], Key | None]:
    data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    name, begin, end, order, filters, position = orjson.loads(data)
    if order not in ("asc", "desc") or not isinstance(name, str) or not isinstance(filters, dict):
        raise ValueError("not a cursor")
    for time in (begin, end):
        if time is not None and not _is_int(time):
            raise ValueError("not a cursor")
    if not all(isinstance(value, str) or _is_int(value) for value in filters.values()):
        raise ValueError("not a cursor")
    return name, begin, end, order, filters, None if position is None else _key(position)


def _key(position: Any) -> Key:
    if not isinstance(position, Sequence) or not position or not _is_int(position[0]):
        raise ValueError("not a cursor")
    if not all(isinstance(part, str) or _is_int(part) for part in position):
        raise ValueError("not a cursor")
    return tuple(position)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
