"""Progress of a sink in one partition. Pure, no I/O."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Protocol, TypeVar


class HasOffset(Protocol):
    """A consumed message."""

    @property
    def offset(self) -> int: ...


M = TypeVar("M", bound=HasOffset)


@dataclass(slots=True)
class Progress:
    """One partition of the assignment.

    Attributes:
        committed: next offset of the last commit; the partition's oldest offset without one.
        next: next offset to be taken.
        planned: last offset of the span planned before this assignment; None without one, or once it is sealed.
        messages: messages taken since the last seal.
        known: whether the group has a commit.
        sealed: next offset after the sealed messages; equals ``committed`` when all of them are committed.
    """

    committed: int
    next: int
    planned: int | None = None
    messages: int = 0
    known: bool = True
    sealed: int = field(init=False)

    def __post_init__(self) -> None:
        self.sealed = self.committed

    @property
    def recovering(self) -> bool:
        """Whether the planned span must be completed and sealed first."""
        return self.planned is not None

    @property
    def incomplete(self) -> bool:
        """Whether offsets of the planned span are still missing."""
        return self.planned is not None and self.next <= self.planned

    @property
    def span(self) -> tuple[int, int] | None:
        """First and last offset taken since the last seal; None without any."""
        return (self.sealed, self.next - 1) if self.next > self.sealed else None

    def take(self, messages: Sequence[M]) -> tuple[list[M], int, bool]:
        """Advance over ``messages``, in offset order.

        Returns:
            The messages to submit, the number of skipped duplicates, and whether messages beyond the planned span were
            skipped (the reader has to seek back to ``next``).
        """
        start = self.next
        fresh = [*messages[bisect_left(messages, start, key=attrgetter("offset")) :]]
        seen = len(messages) - len(fresh)
        last = self.planned
        if last is None:
            if fresh:
                self.next = fresh[-1].offset + 1
                self.messages += len(fresh)
            return fresh, seen, False
        taken = [message for message in fresh if message.offset <= last]
        self.messages += len(taken)
        if len(taken) < len(fresh) or (taken and taken[-1].offset == last):
            # Complete, even if the broker has dropped part of it meanwhile.
            self.next = last + 1
        elif taken:
            self.next = taken[-1].offset + 1
        return taken, seen, len(taken) < len(fresh)

    def seal(self) -> int:
        """End the span: its messages are being written. Return their number."""
        messages, self.messages = self.messages, 0
        self.sealed = self.next
        self.planned = None
        return messages

    def commit(self) -> None:
        """Mark the sealed messages as written and committed."""
        self.committed = self.sealed
        self.known = True
