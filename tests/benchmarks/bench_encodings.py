"""The stream's encodings: size, encoding and decoding of a message as JSON, MessagePack and Avro, in Python and in V8.

``python -m tests.benchmarks.bench_encodings``; with Node on the path and ``NODE_MODULES`` (a folder with
``@msgpack/msgpack`` and ``avsc``) also decoding in V8. Avro is the record of the
topic, so its prices and sizes are mantissas, too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec
import orjson

from gateway.v2.book_messages import BookMessage
from gateway.v2.books import head_of
from gateway.v2.encoding import JSON, MSGPACK, Form, Outgoing, encoded
from gateway.v2.messages import Trades
from gateway.v2.trades import item
from schemas.codec import Codec
from schemas.definitions import definition
from schemas.records import Depth, L2Update, Record, Trade
from tests.benchmarks.stopwatch import microseconds, table
from tests.fixtures.records import DEPTH, L2, TRADE

_NODE = """
const fs = require('fs');
const {decode} = require('@msgpack/msgpack');
const avro = require('avsc');
const long = avro.types.LongType.__with({
  fromBuffer: (b) => Number(b.readBigInt64LE()), toBuffer: () => Buffer.alloc(8),
  fromJSON: Number, toJSON: Number, isValid: (n) => typeof n === 'number', compare: (a, b) => a - b,
});
for (const each of JSON.parse(fs.readFileSync(0, 'utf8'))) {
  const text = each.json, packed = Buffer.from(each.msgpack, 'hex'), bytes = Buffer.from(each.avro, 'hex').subarray(5);
  const type = avro.Type.forSchema(each.schema, {registry: {long}});
  const works = {JSON: () => JSON.parse(text), MessagePack: () => decode(packed), Avro: () => type.fromBuffer(bytes)};
  const best = {};
  for (let round = 0; round < 12; round++)
    for (const [name, work] of Object.entries(works)) {
      const start = process.cpuUsage();
      for (let n = 0; n < each.repeats; n++) work();
      const used = process.cpuUsage(start);
      const figure = (used.user + used.system) / each.repeats;
      best[name] = Math.min(best[name] ?? Infinity, figure);
    }
  console.log(JSON.stringify(best));
}
"""


@dataclass(frozen=True)
class Case:
    """A message, and the record with the same content."""

    title: str
    message: Outgoing
    record: Record
    repeats: int


def _side(first: int, step: int, count: int) -> list[tuple[int, int]]:
    return [(first + step * n, 123_456_789 - 7919 * n) for n in range(count)]


def _depth(levels: int) -> Depth:
    bids, asks = _side(6_168_599, -1, levels), _side(6_168_600, 1, levels)
    return replace(
        DEPTH,
        price_exponent=-2,
        size_exponent=-8,
        bid_prices=[price for price, _ in bids],
        bid_sizes=[size for _, size in bids],
        ask_prices=[price for price, _ in asks],
        ask_sizes=[size for _, size in asks],
    )


def _book(depth: Depth, previous: int | None) -> BookMessage:
    bids = list(zip(depth.bid_prices, depth.bid_sizes, strict=True))
    asks = list(zip(depth.ask_prices, depth.ask_sizes, strict=True))
    return BookMessage("book", head_of(depth), bids, asks, previous_sequence=previous)


def _l2(levels: int) -> L2Update:
    depth = _depth(levels)
    sides = {name: getattr(depth, name) for name in ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")}
    return replace(L2, kind="SNAPSHOT", price_exponent=-2, size_exponent=-8, checksum=None, **sides)


def cases() -> list[Case]:
    """Return the messages to measure."""
    trade: Trade = TRADE
    small, middle, large = _depth(3), _depth(20), _depth(1000)
    return [
        Case("delta of 6 levels", _book(small, 1), small, 1000),
        Case("snapshot of 2 × 20 levels", _book(middle, None), middle, 300),
        Case("snapshot of 2 × 1000 levels", _book(large, None), _l2(1000), 10),
        Case("trade", Trades("trades", trade.venue, trade.symbol, [item(trade)]), trade, 1000),
    ]


def _encode(message: Outgoing, form: Form) -> bytes:
    # A message keeps its decimal texts for the next form: measured without.
    return encoded(replace(message) if isinstance(message, BookMessage) else message, form)


def main() -> None:
    """Measure and print."""
    codec = Codec()
    for_node = []
    json_form, packed_form = Form(JSON, False), Form(MSGPACK, False)
    for case in cases():
        text, packed = _encode(case.message, json_form), _encode(case.message, packed_form)
        value = codec.encode(case.record)
        print(f"{case.title}: JSON {len(text)}, MessagePack {len(packed)}, Avro {len(value)} bytes")
        table(
            "  encode, Python",
            microseconds(
                {
                    "JSON": partial(_encode, case.message, json_form),
                    "MessagePack": partial(_encode, case.message, packed_form),
                    "Avro": partial(codec.encode, case.record),
                },
                repeats=case.repeats,
            ),
            "JSON",
        )
        table(
            "  decode, Python",
            microseconds(
                {
                    "JSON": partial(orjson.loads, text),
                    "MessagePack": partial(msgspec.msgpack.decode, packed),
                    "Avro": partial(codec.decode, value),
                },
                repeats=case.repeats,
            ),
            "JSON",
        )
        schema = definition(type(case.record)).parsed
        for_node.append(
            {
                "title": case.title,
                "json": text.decode(),
                "msgpack": packed.hex(),
                "avro": value.hex(),
                "schema": {key: part for key, part in schema.items() if not key.startswith("__")},
                "repeats": case.repeats * 5,
            }
        )
    _in_node(for_node)


def _in_node(messages: list[dict[str, object]]) -> None:
    node, modules = shutil.which("node"), os.environ.get("NODE_MODULES")
    if node is None or modules is None:
        print("Node or NODE_MODULES is missing: V8 is not measured")
        return
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "decode.cjs")
        script.write_text(_NODE, encoding="utf-8")
        done = subprocess.run(
            [node, script],
            input=json.dumps(messages),
            env=os.environ | {"NODE_PATH": modules},
            capture_output=True,
            text=True,
            check=True,
        )
    for message, line in zip(messages, done.stdout.splitlines(), strict=True):
        print(message["title"])
        table("  decode, V8", json.loads(line), "JSON")


if __name__ == "__main__":
    main()
