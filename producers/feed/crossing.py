"""One book that its venue itself shows crossed: followed, but not published until that is over. Pure.

During an auction a venue collects orders without matching them, so its book may be crossed for minutes: that is its
state, not damage. Coinbase documents it, as ``collection``:
https://docs.cdp.coinbase.com/exchange/reference/exchangerestapi_getproductbook. An update that crosses a book may as
well be the sign of a lost one, so a snapshot is asked for; a *snapshot* that is crossed is the venue's word. From then
on until the book has been good for a while (:mod:`producers.collector.watchdog`), updates that cross it are its word,
too.
"""

from __future__ import annotations


class Crossing:
    """Where one book stands between crossed and published.

    Attributes:
        known: the venue's own snapshot was crossed, and the book has not been good for long since.
        hides: the book is followed but not published: the venue shows it crossed, or did a moment ago.
    """

    __slots__ = ("_times", "hides", "known")

    def __init__(self) -> None:
        self.known = self.hides = False
        self._times = 0

    def snapshot(self) -> None:
        """Take note that the venue's snapshot is crossed."""
        self._times += not self.hides
        self.known = self.hides = True

    def update(self) -> bool:
        """Take note that an update has crossed a published book; return whether that is the venue's word."""
        self._times += self.known
        self.hides = self.known
        return self.known

    def show(self, *, timer: bool) -> bool:
        """Return whether the book, crossed no more, is to be published.

        At once after the first time. One that crosses and uncrosses again and again, with a whole snapshot each time,
        is published by the ``timer`` only, about once a second.
        """
        if self._times > 1 and not timer:
            return False
        self.hides = False
        return True

    def ended(self) -> None:
        """Take note that a snapshot is not crossed, or that the book is not followed any more."""
        self.hides = False

    def good(self) -> None:
        """Take note that the book has been published for so long that the next crossing is to be judged anew."""
        self.known = False
        self._times = 0
