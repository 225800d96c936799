"""Handover between two connections without a gap: two protocols on the same instruments, one stream of records. Pure.

The new connection opens beside the old one. The book of an instrument switches with the new connection's snapshot,
which opens a new epoch directly after the old one's last record. Trades are published from the old connection until it
closes; trades of the new one are buffered, and those the old one did not deliver are published at the end, each once.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any, Final

from producers.feed.actions import FetchSnapshot, Note, Output, Outputs, Reconnect, Resubscribe
from producers.feed.counters import InstrumentCounters
from producers.feed.protocol import VenueProtocol
from schemas.records import Candle, L2Update, Quote, Trade

MOST_HELD: Final = 10_000
"""Buffered trades per instrument; the old connection delivers them too, so only the newest can be missing."""


class Handover:
    """Filter for the outputs of two protocols during a handover.

    Args:
        old: protocol whose books are published at first.
        new: protocol without books yet.

    Attributes:
        taken: symbols whose book is published from ``new``.
    """

    def __init__(self, old: VenueProtocol, new: VenueProtocol) -> None:
        self._old = old
        self._new = new
        self.taken: set[str] = set()
        self._stats: dict[str, InstrumentCounters] = {}
        self._held: dict[str, deque[Trade]] = {}

    @property
    def complete(self) -> bool:
        """Whether closing the old connection loses no valid book."""
        return not any(
            state.book.valid and symbol not in self.taken and symbol in self._new.instruments
            for symbol, state in self._old.instruments.items()
        )

    def of_old(self, outputs: Outputs) -> Outputs:
        """Return the outputs of the old protocol that are to be carried out."""
        return [output for output in outputs if self._keeps(output)]

    def of_new(self, outputs: Outputs) -> Outputs:
        """Return the outputs of the new protocol that are to be carried out."""
        return [output for output in outputs if self._takes(output)]

    def finish(self) -> Outputs:
        """End the handover: move trades and counters to the new protocol; return the trades only it has received."""
        outputs: Outputs = []
        for symbol, state in self._new.instruments.items():
            old = self._old.instruments.get(symbol)
            if old is None:
                continue
            before = self._stats.pop(symbol, None) or replace(old.tally)
            state.tally.take_over(before, old.tally)
            old.trades.count_in(state.tally)
            state.trades = old.trades
            for trade in self._held.pop(symbol, ()):
                if missing := state.trades.again(outputs, trade):
                    outputs.append(self._new.trade_gap(state, missing))
        return outputs

    def report(self, symbol: str) -> dict[str, Any]:
        """Return an instrument's status during the handover, for ``/status``."""
        report = self._old.instruments[symbol].report()
        if symbol not in self.taken:
            return report
        new = self._new.instruments[symbol].report()
        return {**report, "epoch": new["epoch"], "sequence": new["sequence"], "valid": new["valid"]}

    def _shared(self, symbol: str | None) -> bool:
        return symbol in self._old.instruments and symbol in self._new.instruments

    def _keeps(self, output: Output) -> bool:
        match output:
            case L2Update() | Resubscribe() | FetchSnapshot():
                return output.symbol not in self.taken
            case Note():
                return output.symbol not in self.taken or output.kind == "trade_gap"
            case Reconnect():
                return False  # already being replaced
        return True

    def _takes(self, output: Output) -> bool:
        match output:
            case L2Update():
                if output.kind == "SNAPSHOT" and output.symbol not in self.taken and self._shared(output.symbol):
                    self._stats[output.symbol] = replace(self._old.instruments[output.symbol].tally)
                    self.taken.add(output.symbol)
                return output.symbol in self.taken or not self._shared(output.symbol)
            case Trade() if self._shared(output.symbol):
                self._held.setdefault(output.symbol, deque(maxlen=MOST_HELD)).append(output)
                return False
            case Quote() | Candle():
                return not self._shared(output.symbol)
            case Note():
                return output.kind != "trade_gap" or not self._shared(output.symbol)
        return True
