"""From one connection to the next without a gap: two protocols on the same instruments, one stream of records. Pure.

The new connection comes up beside the old one. An instrument's book changes over at the new connection's snapshot of
it, which opens a new epoch right behind the old one's last record. Trades stay with the old connection until it goes;
those of the new one are held, and fill in at the end whatever the old one had not delivered, each trade once.
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
"""Trades of one instrument; the old connection delivers them as well, so only the newest can be missing."""


class Handover:
    """What is published of two protocols while one takes over from the other.

    Args:
        old: its books are published at first.
        new: begins without books.

    Attributes:
        taken: symbols whose book is the new one's.
    """

    def __init__(self, old: VenueProtocol, new: VenueProtocol) -> None:
        self._old = old
        self._new = new
        self.taken: set[str] = set()
        self._stats: dict[str, InstrumentCounters] = {}
        self._held: dict[str, deque[Trade]] = {}

    @property
    def complete(self) -> bool:
        """Whether nothing valid would be lost with the old connection."""
        return not any(
            state.book.valid and symbol not in self.taken and symbol in self._new.instruments
            for symbol, state in self._old.instruments.items()
        )

    def of_old(self, outputs: Outputs) -> Outputs:
        """Return what is to be done of what the old protocol says."""
        return [output for output in outputs if self._keeps(output)]

    def of_new(self, outputs: Outputs) -> Outputs:
        """Return what is to be done of what the new protocol says."""
        return [output for output in outputs if self._takes(output)]

    def finish(self) -> Outputs:
        """End the handover: move trades and figures over; return the trades that only the new connection brought."""
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
        """Return what ``/status`` tells of an instrument meanwhile."""
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
                return False  # it is being replaced
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
