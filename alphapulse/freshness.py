"""Freshness rule: a book is usable only while it is valid and recent.

A book's time is its ``received_time``: the latest moment at which its collector knew the book to match the venue. Its
age is the reader's clock (:mod:`alphapulse.clock`) minus that, so that it includes all lag, wherever it arose. Used by
processors and gateway. Pure; all times in nanoseconds.

Ages compare clocks of different machines: hosts need synchronized clocks (NTP). A book whose time is further in the
future than the maximum age shows that they are not; its true age is unknown, and it counts as stale.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

Fault: TypeAlias = Literal["no_book", "invalid", "stale"]
"""Why a book is not usable: unknown, invalidated by its collector, or not confirmed for too long."""


def book_age(received_time: int, now: int) -> int:
    """Return the age of a book at ``now``; 0 if the collector's clock is slightly ahead of the reader's."""
    return max(0, now - received_time)


def is_stale(received_time: int, now: int, max_age: int) -> bool:
    """Return whether a book of ``received_time`` is too old at ``now``, or its age is unknown."""
    return not -max_age <= now - received_time <= max_age


def stale_from(received_time: int, max_age: int) -> int:
    """Return the first moment at which a book of ``received_time`` is too old."""
    return received_time + max_age + 1


def book_fault(valid: bool | None, received_time: int, now: int, max_age: int) -> Fault | None:
    """Return why a book is not usable at ``now``; None: it is valid and recent.

    Args:
        valid: whether its last record left it valid; None: no book is known.
        received_time: of its last record (ignored without a valid book).
        now: the reader's clock.
        max_age: ``[freshness] max_book_age_ms``, in nanoseconds.
    """
    if valid is None:
        return "no_book"
    if not valid:
        return "invalid"
    return "stale" if is_stale(received_time, now, max_age) else None
