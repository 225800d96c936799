"""The peer of ``bench_collector``: cryptofeed's Binance parser and Kafka callbacks on a venue replay's socket.

Runs in an environment of its own, never in AlphaPulse's:
``python cryptofeed_binance.py WEBSOCKET_URL REST_URL BOOTSTRAP FRAMES``. Prints ``ready``, waits for a line on standard
input, then prints one JSON object once FRAMES frames are handled and all its records are acknowledged.
"""

import asyncio
import json
import sys
import time

import aiohttp
import websockets
from cryptofeed.backends.kafka import BookKafka, TradeKafka
from cryptofeed.defines import L2_BOOK, TRADES
from cryptofeed.exchanges import Binance
from cryptofeed.symbols import Symbol, Symbols


class Rest:
    """Stands for the feed's HTTP connection, whose addresses are fixed: asks the replay instead."""

    def __init__(self, session, address):
        self.session = session
        self.address = address

    async def read(self, url, **_):
        path = url.split("binance.com", 1)[1]
        async with self.session.get(self.address + path) as answer:
            return await answer.text()


async def main(websocket_url, rest_url, bootstrap, frames):
    symbol = Symbol("BTC", "USDT")
    Symbols.set("BINANCE", {symbol.normalized: "BTCUSDT"}, {"instrument_type": {symbol.normalized: "spot"}})
    options = {"bootstrap_servers": bootstrap, "acks": "all", "enable_idempotence": True}
    books, trades = BookKafka(**options), TradeKafka(**options)
    feed = Binance(symbols=["BTC-USDT"], channels=[L2_BOOK, TRADES], callbacks={L2_BOOK: books, TRADES: trades})
    loop = asyncio.get_running_loop()
    for callback in (books, trades):
        callback.start(loop)
    while not (books.running and trades.running):
        await asyncio.sleep(0.01)
    streams = "btcusdt@depth@100ms/btcusdt@aggTrade/btcusdt@bookTicker"
    async with aiohttp.ClientSession() as session:
        feed.http_conn = Rest(session, rest_url)
        async with websockets.connect(
            f"{websocket_url}/stream?streams={streams}", max_size=None, compression=None, ping_interval=None
        ) as connection:
            print("ready", flush=True)
            await loop.run_in_executor(None, sys.stdin.readline)
            began, cpu, done = time.perf_counter(), time.process_time(), 0
            async for frame in connection:
                await feed.message_handler(frame, connection, time.time())
                done += 1
                if done == frames:
                    break
            await asyncio.gather(books.queue.join(), trades.queue.join())
            seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    for callback in (books, trades):
        await callback.producer.stop()
        callback.worker.cancel()
    print(json.dumps({"frames": done, "seconds": seconds, "cpu_seconds": cpu}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
