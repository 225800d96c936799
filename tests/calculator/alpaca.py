"""Alpaca, US equities: trades. Quotes are counted by nobody here, and there are no books.

https://docs.alpaca.markets/docs/real-time-stock-pricing-data
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from tests.calculator.feed import Feed

NEW_YORK = ZoneInfo("America/New_York")


class Alpaca(Feed):
    """A trade's id starts anew each day and at each exchange; corrections and cancels change no trade."""

    def take(self, frame: Any) -> None:
        for message in frame:
            match message["T"]:
                case "t":
                    seconds = message["t"].partition(".")[0].removesuffix("Z")
                    day = datetime.fromisoformat(f"{seconds}+00:00").astimezone(NEW_YORK).date()
                    self.instrument(message["S"]).trade((day, message["x"], message["i"]), message["s"])
                case "q" | "b" | "u":
                    self.instrument(message["S"])
