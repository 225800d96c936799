"""How many frames a second each simulated venue delivers to one client that reads as fast as it can.

``python -m tests.benchmarks.bench_simulator [VENUE…]`` (default: all). The market is asked for more than it can do;
what counts is what arrives, by wall clock and by CPU second of the simulator's process. The baseline, in the same run,
is a process that writes frames of the same length, made beforehand, into a plain socket: the least a server can do.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlsplit

from alphapulse.cli.stack import Stack
from alphapulse.config import Settings
from alphapulse.supervisor.supervisor import ChildSpec, Supervisor
from producers.simulator.listings import make_listings
from producers.simulator.server import feed_of
from tests.benchmarks.stopwatch import cpu_seconds

SYMBOLS = ("BTC-USD", "ETH-USD", "SOL-USD", "ADA-USD")
STOCKS = ("AAPL", "MSFT", "NVDA", "TSLA")
VENUES = ("kraken", "coinbase", "binance", "binance_us", "coinbase_advanced", "okx", "alpaca")
ASKED = 160_000.0
SECONDS = 4.0
TRIES = 5


def requests(venue: str, names: list[str]) -> tuple[str, list[object]]:
    """Return what to add to the address, and the messages that subscribe to books and trades of ``names``."""
    match venue:
        case "kraken":
            book = {"channel": "book", "symbol": names, "depth": 1000}
            return "", [
                {"method": "subscribe", "params": params} for params in (book, {"channel": "trade", "symbol": names})
            ]
        case "binance" | "binance_us":
            streams = [f"{name.lower()}@{kind}" for name in names for kind in ("depth@100ms", "trade")]
            return "/stream?streams=" + "/".join(streams), []
        case "coinbase":
            return "", [{"type": "subscribe", "product_ids": names, "channels": ["level2_batch", "matches"]}]
        case "coinbase_advanced":
            channels = ("level2", "market_trades")
            return "", [{"type": "subscribe", "product_ids": names, "channel": channel} for channel in channels]
        case "okx":
            return "", [
                {"op": "subscribe", "args": [{"channel": kind, "instId": name}]}
                for name in names
                for kind in ("books", "trades")
            ]
        case _:
            return "", [
                {"action": "auth", "key": "k", "secret": "s"},
                {"action": "subscribe", "trades": names, "quotes": names},
            ]


class HungUp(Exception):
    """The venue ended the connection."""


class Client:
    """A WebSocket client that does nothing but count."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._socket = socket.create_connection((address.hostname or "", address.port or 80))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        target = (address.path or "/") + ("?" + address.query if address.query else "")
        self._socket.sendall(
            f"GET {target} HTTP/1.1\r\nHost: {address.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self._rest = b""
        while b"\r\n\r\n" not in self._rest:
            self._rest += self._socket.recv(65536)
        self._rest = self._rest.partition(b"\r\n\r\n")[2]

    def send(self, message: object) -> None:
        """Send one text message."""
        data = json.dumps(message).encode()
        mask = secrets.token_bytes(4)
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))
        self._socket.sendall(b"\x81\xfe" + len(data).to_bytes(2, "big") + mask + masked)

    def count(self, seconds: float) -> tuple[int, int, float]:
        """Read for ``seconds``; return frames, bytes and how long it was."""
        frames = size = 0
        began = time.perf_counter()
        receive, waiting = self._socket.recv, self._rest
        while (now := time.perf_counter()) - began < seconds:
            chunk = receive(1 << 20)
            if not chunk:
                raise HungUp
            size += len(chunk)
            waiting += chunk
            whole, used = walk(waiting)
            frames += whole
            waiting = waiting[used:]
        self._rest = waiting
        return frames, size, now - began

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def walk(data: bytes) -> tuple[int, int]:
    """Return how many whole frames ``data`` begins with, and their length."""
    frames = at = 0
    end = len(data)
    while at + 10 <= end:
        length = data[at + 1]
        if length == 126:
            following = at + 4 + (data[at + 2] << 8 | data[at + 3])
        elif length == 127:
            following = at + 10 + int.from_bytes(data[at + 2 : at + 10], "big")
        else:
            following = at + 2 + length
        if following > end:
            break
        frames += 1
        at = following
    return frames, at


def names_of(venue: str, symbols: tuple[str, ...]) -> list[str]:
    """Return the venue's spelling of ``symbols``."""
    return [listing.venue_symbol for listing in make_listings([venue], symbols)]


def write_prebuilt(told: Connection, length: int) -> None:
    """Serve one client with frames of ``length`` bytes made beforehand, until it hangs up. Runs in its own process."""
    frame = b"\x81\x7e" + length.to_bytes(2, "big") + b"x" * length
    batch = frame * 500
    with socket.create_server(("127.0.0.1", 0)) as server:
        told.send(server.getsockname()[1])
        client, _ = server.accept()
        client.recv(65536)
        client.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        try:
            while True:
                client.sendall(batch)
        except OSError:
            return


@contextmanager
def prebuilt(length: int) -> Iterator[tuple[str, int]]:
    """Yield address and process id of :func:`write_prebuilt`."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=write_prebuilt, args=(theirs, length), daemon=True)
    process.start()
    try:
        yield f"ws://127.0.0.1:{ours.recv()}/", process.pid or 0
    finally:
        process.terminate()
        process.join()


def measure(url: str, messages: list[object], pid: int) -> tuple[float, float, float]:
    """Return frames a second, frames a CPU second of process ``pid``, and bytes a frame."""
    client = Client(url)
    try:
        for message in messages:
            client.send(message)
        client.count(1.0)
        used = cpu_seconds(pid)
        frames, size, seconds = client.count(SECONDS)
        used = cpu_seconds(pid) - used
    finally:
        client.close()
    return frames / seconds, frames / used, size / frames


async def simulated(venue: str, folder: Path) -> tuple[float, float, float]:
    """Measure one venue."""
    symbols = STOCKS if venue == "alpaca" else SYMBOLS
    async with Supervisor(folder) as supervisor:
        stack = Stack(supervisor, Settings(data_dir=folder))
        arguments = ("--venues", venue, "--symbols", ",".join(symbols), "--rate", str(ASKED / len(symbols)))
        await supervisor.start(ChildSpec("simulator", "producers.simulator", stack.settings, arguments, restart=False))
        told = await supervisor.announcement("simulator", "venues")
        pid = supervisor.children["simulator"].pid
        if pid is None:
            raise RuntimeError("the simulator ended")
        path, messages = requests(venue, names_of(venue, symbols))
        return await asyncio.to_thread(measure, told["venues"][venue]["websocket_url"] + path, messages, pid)


def patiently(venue: str) -> tuple[float, float, float]:
    """Measure one venue, again if it cut the client off: on a busy machine nobody reads fast enough."""
    for _ in range(TRIES):
        with tempfile.TemporaryDirectory() as folder:
            try:
                return asyncio.run(simulated(venue, Path(folder)))
            except HungUp:
                print(f"{venue}: too slow to read, and cut off; again", file=sys.stderr)
    raise SystemExit(f"{venue}: cut off {TRIES} times: the machine is too busy")


def main(venues: list[str]) -> None:
    """Print a row for each venue."""
    print(f"{'':18} {'frames/s':>10} {'frames/CPU s':>13} {'bytes/frame':>12} {'of prebuilt frames':>20}")
    for venue in venues:
        feed_of(venue)
        wall, cpu, length = patiently(venue)
        with prebuilt(round(length) - 4) as (url, pid):
            base_wall, base_cpu, _ = measure(url, [], pid)
        share = f"{wall / base_wall:.3f} / {cpu / base_cpu:.3f}"
        print(f"{venue:18} {wall:10,.0f} {cpu:13,.0f} {length:12.0f} {share:>20}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(VENUES))
