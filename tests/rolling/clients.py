"""``python -m tests.rolling.clients``: clients of a gateway's stream, which judge the books that they follow.

It prints one JSON object when it gets SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Final

from alphapulse.client import Client
from alphapulse.client.messages import BookDelta, BookSnapshot, Gap

PAUSE_SECONDS: Final = 0.5
"""Shorter pauses of a feed are not listed."""
INTERVAL_MS: Final = 1000


@dataclass
class Found:
    """What the clients found.

    Attributes:
        clients: how many follow a book.
        messages: deltas and snapshots.
        snapshots: of these, beyond the first of each client.
        gaps: holes that the client library told, by reason.
        holes: deltas that do not follow the message before, by our own count.
        backwards: messages with an older position than one before.
        epochs: number of changes of the epoch.
        invalid: snapshots that say that the book is invalid.
        pauses: (beginning, end) of silences of a client's feed, ns since the Unix epoch.
    """

    clients: int = 0
    messages: int = 0
    snapshots: int = 0
    gaps: dict[str, int] = field(default_factory=dict)
    holes: int = 0
    backwards: int = 0
    epochs: int = 0
    invalid: int = 0
    pauses: list[tuple[int, int]] = field(default_factory=list)


async def follow(url: str, venue: str, symbol: str, found: Found) -> None:
    """Follow one book for ever."""
    last: tuple[int, int] | None = None
    heard = 0
    async with Client(url, open_timeout=600.0) as client:
        async for message in client.subscribe("book", venue=venue, symbol=symbol, interval_ms=INTERVAL_MS):
            now = time.time_ns()
            if heard and now - heard > PAUSE_SECONDS * 1e9 + INTERVAL_MS * 1e6:
                found.pauses.append((heard, now))
            heard = now
            if isinstance(message, Gap):
                found.gaps[message.reason] = found.gaps.get(message.reason, 0) + 1
                continue
            if not isinstance(message, BookDelta | BookSnapshot):
                continue
            found.messages += 1
            position = int(message.epoch), message.sequence
            if last is None:
                found.clients += 1
            elif isinstance(message, BookDelta):
                found.holes += (int(message.epoch), message.previous_sequence) != last
            else:
                found.snapshots += 1
            if isinstance(message, BookSnapshot):
                found.invalid += not message.valid
            if last is not None:
                found.backwards += position < last
                found.epochs += position[0] != last[0]
            last = position


async def run(url: str, count: int, books: list[tuple[str, str]]) -> Found:
    """Follow ``books`` with ``count`` clients until SIGTERM."""
    found = Found()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    work = [asyncio.create_task(follow(url, *books[number % len(books)], found)) for number in range(count)]
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([*work, stopped], return_when=asyncio.FIRST_COMPLETED)
    for task in work:
        task.cancel()
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
    return found


def main() -> int:
    """Run until SIGTERM; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("count", type=int)
    parser.add_argument("books", nargs="+", help="venue|symbol")
    options = parser.parse_args()
    pairs = [(venue, symbol) for venue, _, symbol in (book.partition("|") for book in options.books)]
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdout.write(json.dumps(asdict(asyncio.run(run(options.url, options.count, pairs)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
