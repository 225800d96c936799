"""The figures as Markdown tables: what each is, its unit, and how it is written. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from tests.market.statistics import Figures


@dataclass(frozen=True, slots=True)
class Row:
    """A figure.

    Attributes:
        key: of :data:`Figures`.
        name: what it is.
        unit: in which it is written; ``%``: the figure is a share.
    """

    key: str
    name: str
    unit: str = ""


PRICES: Final = (
    Row("return_1s", "return over 1 s, standard deviation", "bp"),
    Row("return_1s_p99", "… 99 % quantile of its size", "bp"),
    Row("return_1s_max", "… greatest", "bp"),
    Row("kurtosis_1s", "… excess kurtosis (normal: 0)"),
    Row("clustering_1s", "… autocorrelation of its size, lag 1 s"),
    Row("clustering_long", "… mean of lags 10 to 30 s"),
    Row("still_100ms", "tenths of a second in which the mid does not change", "%"),
    Row("still_1s", "seconds in which it does not", "%"),
    Row("return_1min", "return over 1 min, mean size", "bp"),
    Row("return_1min_max", "… greatest", "bp"),
)
BOOK: Final = (
    Row("tick", "tick (greatest divisor of all prices)", "bp"),
    Row("spread", "spread, median", "bp"),
    Row("spread_ticks", "… in ticks", "ticks"),
    Row("spread_p95", "… 95 % quantile", "bp"),
    Row("crossed", "time with the venue's own book crossed", "%"),
    Row("distance_2", "distance of level 2 from the best, median", "bp"),
    Row("distance_5", "… of level 5", "bp"),
    Row("distance_10", "… of level 10", "bp"),
    Row("distance_20", "… of level 20", "bp"),
    Row("distance_50", "… of level 50", "bp"),
    Row("distance_100", "… of level 100", "bp"),
    Row("hole", "widest gap within the best 10 levels, median", "bp"),
    Row("hole_p99", "… 99 % quantile", "bp"),
    Row("size_1_1", "size of the best level, of the mean of the best 100", "×"),
    Row("size_2_5", "… of levels 2 to 5", "×"),
    Row("size_6_10", "… of levels 6 to 10", "×"),
    Row("size_11_20", "… of levels 11 to 20", "×"),
    Row("size_21_50", "… of levels 21 to 50", "×"),
    Row("size_51_100", "… of levels 51 to 100", "×"),
    Row("size_tail", "size of a level, 99 % quantile of its median", "×"),
    Row("levels", "levels of both sides, median"),
    Row("levels_range", "… most less fewest, of the mean", "%"),
)
TRADES: Final = (
    Row("orders", "aggressive orders (trades of one moment and side)", "/s"),
    Row("trades", "trades", "/s"),
    Row("buys", "trades that bought", "%"),
    Row("buy_size", "median size of a buy, of that of a sell", "×"),
    Row("same_side", "orders on the side of the one before", "%"),
    Row("at_touch", "orders at the best price that the book had shown", "%"),
    Row("inside", "… within the spread", "%"),
    Row("through", "… beyond it", "%"),
    Row("deep", "orders that met several levels", "%"),
    Row("trade_size_mean", "size of a trade, mean of its median", "×"),
    Row("trade_size_tail", "… 99 % quantile of its median", "×"),
    Row("trade_sizes_round", "… of two digits at most", "%"),
    Row("bursts", "trades within 100 ms of the one before", "%"),
    Row("dispersion", "trades of a second, variance over mean (Poisson: 1)"),
)
FRAMES: Final = (
    Row("seconds", "length", "s"),
    Row("updates", "book updates", "/s"),
    Row("level_changes", "levels changed", "/s"),
)
GROUPS: Final[Mapping[str, Sequence[Row]]] = {
    "Prices": PRICES,
    "Book": BOOK,
    "Trades": TRADES,
    "Frames": FRAMES,
}
"""All rows, by their heading."""


def table(columns: Mapping[str, Sequence[Figures]]) -> list[str]:
    """Return the lines of a table.

    Args:
        columns: by their headings, the figures of the instruments in each: of several the median is written, and the
            least and the greatest in brackets.
    """
    lines = ["| | unit | " + " | ".join(columns) + " |", "|---|---|" + "---:|" * len(columns)]
    for heading, rows in GROUPS.items():
        lines.append(f"| **{heading}** | |" + " |" * len(columns))
        lines += [
            f"| {row.name} | {row.unit} | " + " | ".join(cell(row, figures) for figures in columns.values()) + " |"
            for row in rows
        ]
    return lines


def cell(row: Row, figures: Sequence[Figures]) -> str:
    """Return a figure of one instrument, or what those of several have in common."""
    factor = 100 if row.unit == "%" else 1
    return cells([None if (value := one[row.key]) is None else value * factor for one in figures])


def cells(values: Sequence[float | None]) -> str:
    """Return one value, or the median, the least and the greatest of several; those that are None do not count."""
    found = [value for value in values if value is not None]
    if not found:
        return "–"
    least, most = number(min(found)), number(max(found))
    return least if least == most else f"{number(median(found))} ({least} … {most})"


def number(value: float) -> str:
    """Return ``value`` with three digits, or all before the point."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) < 0.001:
        return f"{value:.0e}"
    return f"{value:.3g}"
