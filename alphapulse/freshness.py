"""The freshness rule: a book is good only while it is valid and young.

A book's time is its ``received_time``: the newest moment at which its collector knew the book to be what the venue
shows. Its age is the reader's own clock (:mod:`alphapulse.clock`) minus that, so that the lag of whoever made the data
is part of it, wherever it arose. One rule for processors and gateway. Pure; all times in nanoseconds.

Ages compare clocks of different machines: hosts need a common time (NTP). A book that seems to come from further in the
future than a book may be old shows that they have none; its true age is unknown, and it is stale, too.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

Fault: TypeAlias = Literal["no_book", "invalid", "stale"]
"""Why a book is not good: none is known, its collector doubts it, or nobody has confirmed it for too long."""


def book_age(received_time: int, now: int) -> int:
    """Return the age of a book at ``now``; 0 where the collector's clock is a little ahead of the reader's."""
    return max(0, now - received_time)


def is_stale(received_time: int, now: int, max_age: int) -> bool:
    """Return whether a book of ``received_time`` is too old at ``now``, or its age cannot be told."""
    return not -max_age <= now - received_time <= max_age


def stale_from(received_time: int, max_age: int) -> int:
    """Return the first moment at which a book of ``received_time`` is too old."""
    return received_time + max_age + 1


def book_fault(valid: bool | None, received_time: int, now: int, max_age: int) -> Fault | None:
    """Return why a book is not good at ``now``; None: it is valid and young.

    Args:
        valid: whether its last record left it valid; None: there is no book.
        received_time: of its last record (not looked at where there is no valid book).
        now: the reader's clock.
        max_age: ``[freshness] max_book_age_ms``, in nanoseconds.
    """
    if valid is None:
        return "no_book"
    if not valid:
        return "invalid"
    return "stale" if is_stale(received_time, now, max_age) else None
