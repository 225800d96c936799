"""``python -m tests.market RECORDING…``: statistics of recordings beside those of the simulated market, as Markdown.

Each recording gets a table, with a column for the simulation of the same symbols at the same venue. ``--venues`` and
``--symbols`` add a table of a simulated market of their own, a column an instrument, and one of the crosses between
its venues. What came out is in docs/simulated-market.md.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

from alphapulse.cli.demo import DEFAULT_TAKER_FEE, TAKER_FEES
from alphapulse.errors import AlphaPulseError
from producers.simulator.__main__ import names, rate
from schemas.records import L2Update, Trade
from tests.market.crosses import Crosses
from tests.market.sources import SimulatedRun, recorded
from tests.market.statistics import Figures, InstrumentStatistics
from tests.market.table import cells, table

_MOST_SYMBOLS = 4
"""Of more, the columns are venues, not instruments."""


def follow(records: Iterable[L2Update | Trade]) -> list[InstrumentStatistics]:
    """Return the statistics of each instrument, in the order they appear."""
    found: dict[tuple[str, str], InstrumentStatistics] = {}
    time_ns = 0
    for record in records:
        key = record.venue, record.symbol
        if key not in found:
            found[key] = InstrumentStatistics(*key)
        found[key].take(record)
        time_ns = record.received_time
    for instrument in found.values():
        instrument.finish(time_ns)
    return list(found.values())


def compare(path: Path, options: argparse.Namespace) -> list[str]:
    """Return the table of a recording and the simulation of its symbols."""
    instruments = follow(recorded(path))
    columns: dict[str, list[Figures]] = {"recorded": [one.figures() for one in instruments]}
    (venue,) = {one.venue for one in instruments}
    symbols = [one.symbol for one in instruments]
    run = SimulatedRun({venue: symbols}, seed=options.seed, rate=options.rate)
    columns["simulated"] = [one.figures() for one in follow(run.records(options.seconds))]
    return [f"### {path.name}: {', '.join(symbols)}", "", *table(columns), ""]


def simulate(options: argparse.Namespace) -> list[str]:
    """Return the tables of a simulated market: its instruments, and the crosses between its venues."""
    run = SimulatedRun(dict.fromkeys(options.venues, options.symbols), seed=options.seed, rate=options.rate)
    fees = {venue: float(TAKER_FEES.get(venue, DEFAULT_TAKER_FEE)) for venue in options.venues}
    crosses = {symbol: (Crosses(), Crosses(fees)) for symbol in options.symbols}
    instruments = follow(_watched(run, run.records(options.seconds), crosses))
    columns: dict[str, list[Figures]] = defaultdict(list)
    many = len(options.symbols) > _MOST_SYMBOLS
    for one in sorted(
        instruments, key=lambda one: (options.venues.index(one.venue), options.symbols.index(one.symbol))
    ):
        columns[one.venue if many else f"{one.venue} {one.symbol}"].append(one.figures())
    traded = f"{len(options.symbols)} symbols" if many else ", ".join(options.symbols)
    lines = [f"### Simulated: {traded} on {', '.join(options.venues)}", "", *table(columns), ""]
    if len(options.venues) == 1:
        return lines
    groups = {traded: list(crosses.values())} if many else {symbol: [pair] for symbol, pair in crosses.items()}
    return [*lines, *_cross_table(groups), ""]


def _watched(
    run: SimulatedRun, records: Iterable[L2Update | Trade], crosses: dict[str, tuple[Crosses, Crosses]]
) -> Iterable[L2Update | Trade]:
    """Yield the records, and tell ``crosses`` of the best prices that they lead to."""
    for record in records:
        yield record
        reader = run.venues[record.venue].run.readers[record.symbol]
        bid, ask = reader.book.bids.best_price(), reader.book.asks.best_price()
        if isinstance(record, L2Update) and bid is not None and ask is not None:
            unit = 10.0**reader.price_exponent
            for one in crosses[record.symbol]:
                one.quote(record.venue, record.received_time, bid * unit, ask * unit)


def _cross_table(groups: Mapping[str, Sequence[tuple[Crosses, Crosses]]]) -> list[str]:
    """Return the table of the crosses of each symbol, before and after fees, by column."""
    lines = ["| Crosses between venues | unit | " + " | ".join(groups) + " |", "|---|---|" + "---:|" * len(groups)]
    for place, name in enumerate(("before fees", "after the demo's taker fees")):
        columns = [[pair[place] for pair in pairs] for pairs in groups.values()]
        rows: dict[str, Callable[[Crosses], float | None]] = {
            f"time with a cross {name} | %": lambda one: 100 * one.share(),
            "… crosses that ended | /min": Crosses.per_minute,
            "… how long one lasted, median | s": lambda one: median(one.lives_ns) / 1e9 if one.lives_ns else None,
            "… longest | s": lambda one: max(one.lives_ns) / 1e9 if one.lives_ns else None,
            "… the first began after | s": Crosses.first_seconds,
        }
        for row, figure in rows.items():
            lines.append(
                f"| {row} | " + " | ".join(cells([figure(one) for one in column]) for column in columns) + " |"
            )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.market", description="Statistics of markets.")
    parser.add_argument("recordings", nargs="*", type=Path, help="each beside a simulation of the same symbols")
    parser.add_argument("--venues", type=names, default=[], help="of a simulated market of its own")
    parser.add_argument("--symbols", type=names, default=[], help="likewise")
    parser.add_argument("--seed", type=int, default=1, help="of the simulated markets (default 1)")
    parser.add_argument("--rate", type=rate, default=30.0, help="frames a second and instrument, about (default 30)")
    parser.add_argument("--seconds", type=float, default=1200.0, help="of their time (default 1200)")
    options = parser.parse_args(arguments)
    if bool(options.venues) != bool(options.symbols) or not (options.recordings or options.venues):
        parser.error("recordings, or --venues and --symbols, or both")
    try:
        for path in options.recordings:
            print("\n".join(compare(path, options)), flush=True)
        if options.venues:
            print("\n".join(simulate(options)), flush=True)
    except AlphaPulseError as error:
        print(f"market: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
