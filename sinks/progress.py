"""How far a sink has come in one partition: pure bookkeeping, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
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
        committed: the next offset by the last commit; where the partition begins if there was none.
        next: the next offset to be taken.
        planned: last offset of the span that was planned before this assignment; None when there is no such span,
            or it is sealed.
        messages: taken since the last seal.
        known: whether the group has a commit.
        sealed: the next offset behind what is sealed; ``committed`` when all of that is committed.
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
        """Whether the planned span has to be completed and sealed before anything else."""
        return self.planned is not None

    @property
    def incomplete(self) -> bool:
        """Whether offsets of the planned span have still to come."""
        return self.planned is not None and self.next <= self.planned

    @property
    def span(self) -> tuple[int, int] | None:
        """First and last offset of what was taken since the last seal; None if there is nothing."""
        return (self.sealed, self.next - 1) if self.next > self.sealed else None

    def take(self, messages: Sequence[M]) -> tuple[list[M], int, bool]:
        """Advance over ``messages``, in the order of their offsets.

        Returns:
            The messages to submit, how many were left out because they had been taken before, and whether
            messages beyond the planned span were left out (the reader has to go back to ``next``).
        """
        start = self.next
        fresh = [message for message in messages if message.offset >= start]
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
            # Complete, even if the broker has dropped some of it meanwhile.
            self.next = last + 1
        elif taken:
            self.next = taken[-1].offset + 1
        return taken, seen, len(taken) < len(fresh)

    def seal(self) -> int:
        """End the span: what was taken is on its way to be written. Return the number of its messages."""
        messages, self.messages = self.messages, 0
        self.sealed = self.next
        self.planned = None
        return messages

    def commit(self) -> None:
        """What was sealed is written and committed."""
        self.committed = self.sealed
        self.known = True
