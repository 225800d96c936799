"""Put load on a running gateway: ``python -m tests.load http://127.0.0.1:8000 --clients 500``.

Each client subscribes to ``--feeds`` instruments of ``--channel``, chosen at random among those that the gateway
lists, and reads what comes. Every ``--every`` seconds one line: messages a second over all clients, messages a
WebSocket frame, bytes a message, and how old messages were when they arrived (their ``time`` against this host's clock,
so run it on the gateway's host or synchronize the clocks). ``--silent`` adds clients that never read, which must not
cost the others anything. A token is read from the environment variable ``ALPHAPULSE_TOKEN``.

``stream.k6.js`` beside this file does the same with k6.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import aiohttp

from tests.load.clients import Target
from tests.load.crowd import Crowd
from tests.load.figures import summary


async def instruments(url: str, token: str) -> list[tuple[str, str]]:
    """Return venue and symbol of each instrument that the gateway lists.

    Raises:
        SystemExit: it lists none, or refuses.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession(headers=headers) as session, session.get(f"{url}/api/v1/instruments") as response:
        if response.status != 200:
            sys.exit(f"{url}/api/v1/instruments: {response.status} {await response.text()}")
        found = (await response.json())["instruments"]
    if not found:
        sys.exit(f"{url} has no instruments yet")
    return sorted((each["venue"], each["symbol"]) for each in found)


def subscriptions(
    known: list[tuple[str, str]], channel: str, feeds: int, chance: random.Random, *, interval_ms: int = 0
) -> Iterator[list[str]]:
    """Yield the messages of client after client: ``feeds`` random instruments of ``channel`` each."""
    while True:
        chosen = chance.sample(known, min(feeds, len(known)))
        yield [
            json.dumps(
                {"op": "subscribe", "id": number, "channel": channel, "venue": venue, "symbol": symbol}
                | ({"interval_ms": interval_ms} if interval_ms else {})
            )
            for number, (venue, symbol) in enumerate(chosen)
        ]


async def run(options: argparse.Namespace) -> None:
    """Connect the clients and print a line at each interval."""
    token = os.environ.get("ALPHAPULSE_TOKEN", "")
    url = urlsplit(options.url)
    known = await instruments(options.url.rstrip("/"), token)
    target = Target(
        host=url.hostname or "127.0.0.1",
        port=url.port or 80,
        path=options.path,
        headers=f"Authorization: Bearer {token}\r\n" if token else "",
    )
    made = subscriptions(
        known, options.channel, options.feeds, random.Random(options.seed), interval_ms=options.interval_ms
    )
    messages = [next(made) for _ in range(options.clients)]
    silent = [next(made) for _ in range(options.silent)]
    async with Crowd(target, messages, silent, processes=options.processes) as crowd:
        sys.stdout.write(
            f"{options.clients} clients, {options.silent} silent, {options.feeds} feeds of {options.channel} each\n"
        )
        await crowd.counts()
        end = time.monotonic() + options.seconds
        while (began := time.monotonic()) < end:
            await asyncio.sleep(min(options.every, end - began))
            counts = await crowd.counts()
            sys.stdout.write(f"{summary(counts, time.monotonic() - began)}\n")
            sys.stdout.flush()


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.load", description=(__doc__ or "").split("\n\n", maxsplit=1)[0]
    )
    parser.add_argument("url", help="of the gateway, for example http://127.0.0.1:8000")
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--silent", type=int, default=0, help="clients that never read")
    parser.add_argument("--channel", default="book")
    parser.add_argument("--feeds", type=int, default=8, help="instruments per client")
    parser.add_argument("--interval-ms", type=int, default=0, help="pace asked for (0: each change)")
    parser.add_argument("--path", default="/ws/v2")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two lines")
    parser.add_argument("--seed", type=int, default=1)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
