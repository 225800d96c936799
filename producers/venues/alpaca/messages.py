"""Alpaca's stream messages, by ``T``: the fields that are used. Every frame is an array of them.

Numbers are not quoted; they stay :class:`msgspec.Raw`, their decimal text, so that none passes through a float.
https://docs.alpaca.markets/docs/real-time-stock-pricing-data
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta, Raw, Struct, field

from producers.feed.entries import Entries

Int64 = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Exchange = Annotated[str, Meta(pattern=r"^[!-~]\Z")]
"""One letter."""


# https://docs.alpaca.markets/docs/streaming-market-data#authentication
class Success(Struct, tag_field="T", tag="success"):
    msg: str = ""


# https://docs.alpaca.markets/docs/streaming-market-data#errors
class AlpacaError(Struct, tag_field="T", tag="error"):
    code: int = 0
    msg: str = ""


# All subscriptions: https://docs.alpaca.markets/docs/streaming-market-data#subscription
class AlpacaSubscription(Struct, tag_field="T", tag="subscription"):
    trades: list[str] = []
    quotes: list[str] = []
    bars: list[str] = []


# https://docs.alpaca.markets/docs/real-time-stock-pricing-data#trades ; ids are unique per exchange and day
class AlpacaTrade(Struct, tag_field="T", tag="t"):
    symbol: str = field(name="S")
    i: Int64
    x: Exchange
    p: Raw
    s: Raw
    t: str


# https://docs.alpaca.markets/docs/real-time-stock-pricing-data#quotes ; a side without a quote has price and size 0
class AlpacaQuote(Struct, tag_field="T", tag="q"):
    symbol: str = field(name="S")
    bp: Raw
    bs: Raw
    ap: Raw
    as_: Raw = field(name="as")
    t: str = ""


# A minute: https://docs.alpaca.markets/docs/real-time-stock-pricing-data#bars
class AlpacaBar(Struct, tag_field="T", tag="b"):
    symbol: str = field(name="S")
    o: Raw
    h: Raw
    l: Raw  # noqa: E741
    c: Raw
    v: Raw
    t: str
    n: Int64 = 0
    vw: Raw = Raw(b"0")


# The same minute again, including late trades.
class UpdatedBar(AlpacaBar, tag_field="T", tag="u"):
    pass


# https://docs.alpaca.markets/docs/real-time-stock-pricing-data#trade-corrections
class Correction(Struct, tag_field="T", tag="c"):
    symbol: str = field(name="S")
    x: Exchange
    oi: Int64
    op: Raw
    os: Raw
    ci: Int64
    cp: Raw
    cs: Raw
    t: str


# https://docs.alpaca.markets/docs/real-time-stock-pricing-data#trade-cancelserrors ; a: C cancelled, E an error
class Cancel(Struct, tag_field="T", tag="x"):
    symbol: str = field(name="S")
    i: Int64
    x: Exchange
    p: Raw
    s: Raw
    t: str
    a: str = ""


# Trading statuses, limit bands, daily bars, order imbalances: not used here.
class Status(Struct, tag_field="T", tag="s"):
    pass


class LimitBand(Struct, tag_field="T", tag="l"):
    pass


class DailyBar(Struct, tag_field="T", tag="d"):
    pass


class Imbalance(Struct, tag_field="T", tag="i"):
    pass


Message: TypeAlias = (
    Success
    | AlpacaError
    | AlpacaSubscription
    | AlpacaTrade
    | AlpacaQuote
    | AlpacaBar
    | UpdatedBar
    | Correction
    | Cancel
    | Status
    | LimitBand
    | DailyBar
    | Imbalance
)

Data: TypeAlias = AlpacaTrade | AlpacaQuote | AlpacaBar | UpdatedBar | Correction | Cancel

MESSAGES: Entries[Message] = Entries(Message)  # type: ignore[arg-type]  # mypy does not accept a union as a type

IGNORED = {Status: "status", LimitBand: "luld", DailyBar: "daily_bar", Imbalance: "imbalance"}


def number_text(raw: Raw) -> str:
    """Return the decimal text of a JSON number (quoted or not)."""
    return bytes(raw).decode("latin-1").strip('" \t\r\n')
