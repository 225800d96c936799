"""Crossed books: followed, but not published until the venue uncrosses them. Pure.

During an auction a venue collects orders without matching them, so its book may be crossed for minutes: a market state,
not an error. Coinbase documents it as ``collection``:
https://docs.cdp.coinbase.com/exchange/reference/exchangerestapi_getproductbook. An update that crosses a book may also
mean that an earlier one was lost, so a snapshot is requested; a crossed *snapshot* confirms the state. From then on,
until the book has been uncrossed for a while (:mod:`producers.collector.watchdog`), updates that cross it are accepted,
too.
"""

from __future__ import annotations


class Crossing:
    """State of one book between crossed and published.

    Attributes:
        known: the venue's snapshot was crossed, and the book has not been uncrossed for long since.
        hides: the book is followed but not published: it is crossed, or was until recently.
    """

    __slots__ = ("_times", "hides", "known")

    def __init__(self) -> None:
        self.known = self.hides = False
        self._times = 0

    def snapshot(self) -> None:
        """Record that the venue's snapshot is crossed."""
        self._times += not self.hides
        self.known = self.hides = True

    def update(self) -> bool:
        """Record that an update crossed a published book; return whether the venue has confirmed the crossing."""
        self._times += self.known
        self.hides = self.known
        return self.known

    def show(self, *, timer: bool) -> bool:
        """Return whether the uncrossed book is to be published.

        The first time at once. A book that crosses and uncrosses repeatedly, each time with a whole snapshot, is
        published by the ``timer`` only, about once a second.
        """
        if self._times > 1 and not timer:
            return False
        self.hides = False
        return True

    def ended(self) -> None:
        """Record that a snapshot is not crossed, or that the book is no longer followed."""
        self.hides = False

    def good(self) -> None:
        """Record that the book has been uncrossed for so long that the next crossing needs a new confirmation."""
        self.known = False
        self._times = 0
