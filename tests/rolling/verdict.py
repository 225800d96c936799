"""What a rolling restart showed, held against what is promised (docs/upgrade.md). Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from alphapulse import topics
from schemas.book_reader import Outcome
from tests.rolling.play import Seen
from tests.rolling.watch import Watch


def broken(seen: Seen, watch: Watch) -> list[str]:
    """Return the promises that were broken. ``watch`` was read before the collectors ended their books."""
    plan, found = seen.plan, list[str]()
    books = {(venue, symbol) for venue in plan.venues for symbol in plan.symbols}
    for venue, symbol in sorted(books):
        outcomes, epochs = watch.outcomes[venue, symbol], watch.epochs[venue, symbol]
        wrong = {outcome.value: outcomes[outcome] for outcome in _WRONG if outcomes[outcome]}
        if wrong:
            found.append(f"{venue} {symbol}: md.l2 has {wrong}")
        if len(epochs) != 1:
            found.append(f"{venue} {symbol}: {len(epochs)} epochs")
        ids = watch.ids[venue, symbol]
        twice = sum(1 for count in ids.values() if count > 1)
        missing = max(ids) - min(ids) + 1 - len(ids) if ids else 0
        if twice or missing or not ids:
            found.append(f"{venue} {symbol}: of {len(ids)} trades {twice} came twice, {missing} are missing")
    for (sink, topic), (records, rows, different) in seen.rows.items():
        if not records == rows == different:
            found.append(f"{sink}: {records} records of {topic}, {rows} rows, {different} different ones")
    clients = seen.clients
    if clients["clients"] != plan.clients:
        found.append(f"{clients['clients']} of {plan.clients} clients followed a book")
    for name in ("holes", "backwards", "epochs", "invalid"):
        if clients[name]:
            found.append(f"clients: {clients[name]} {name}")
    if clients["gaps"]:
        found.append(f"clients were told of gaps: {clients['gaps']}")
    return found


_WRONG = (Outcome.GAP, Outcome.INVALIDATED, Outcome.WAITING, Outcome.SEEN)


def report(seen: Seen, watch: Watch) -> Iterator[str]:
    """Yield the figures, line by line."""
    plan = seen.plan
    yield f"{seen.frames:,.0f} frames/s, {watch.l2:,} records of md.l2, {plan.clients} clients, {plan.rounds} rounds"
    yield f"{'longest pause of a book, s':34} {'md.l2':>8} {'md.depth':>9} {'clients':>9} {'stop, s':>9}"
    rows = [("(nothing restarted)", *seen.quiet, 0.0)]
    rows += [(restart.service, restart.began, restart.ended, restart.stop) for restart in seen.restarts]
    for name, began, ended, stop in rows:
        l2 = watch.longest_pause(topics.L2, began, ended)
        depth = watch.longest_pause(topics.DEPTH, began, ended)
        clients = [(e - b) / 1e9 for b, e in seen.clients["pauses"] if b <= ended and e >= began]
        told = f"{max(clients):9.2f}" if clients else f"{'-':>9}"
        yield f"{name:34} {l2:8.2f} {depth:9.2f} {told} {stop:9.2f}"
    for (sink, topic), (records, stored, different) in seen.rows.items():
        yield f"{sink} {topic}: {records:,} records, {stored:,} rows, {different:,} different"
    found = dict(seen.clients)
    found.pop("pauses")
    yield f"clients: {found}"
    kinds: Counter[str] = watch.events
    yield f"events: {dict(kinds)}"
