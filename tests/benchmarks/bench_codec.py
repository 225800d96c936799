"""The codec and the fixed-point conversion, against what they stand on and what one would use instead.

``python -m tests.benchmarks.bench_codec``
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from functools import partial
from io import BytesIO

import fastavro
import orjson

from alphapulse.fixed import decimal_text, mantissa
from schemas.codec import Codec
from schemas.definitions import definition
from schemas.lazy_levels import best_prices, read_levels
from schemas.records import Depth, Record
from tests.benchmarks.stopwatch import Work, microseconds, table
from tests.fixtures.records import DEPTH, L2, TRADE

TIME = 1_700_000_000_123_456_789

DELTA = replace(
    L2,
    sequence=1234,
    exchange_sequence=None,
    bid_prices=[6_168_599 - n for n in range(5)],
    bid_sizes=[123_456_789] * 5,
    ask_prices=[6_168_600 + n for n in range(5)],
    ask_sizes=[123_456_789] * 5,
    checksum=None,
)
SNAPSHOT = replace(
    DELTA,
    kind="SNAPSHOT",
    bid_prices=[6_168_599 - n for n in range(1000)],
    bid_sizes=[123_456_789] * 1000,
    ask_prices=[6_168_600 + n for n in range(1000)],
    ask_sizes=[123_456_789] * 1000,
)


def records() -> None:
    codec = Codec()
    cases: list[tuple[str, Record, int]] = [
        ("a trade", TRADE, 500),
        ("a delta of 10 changes", DELTA, 500),
        ("a snapshot of 2 × 1000 levels", SNAPSHOT, 5),
    ]
    for title, record, repeats in cases:
        value = codec.encode(record)
        schema = definition(type(record)).parsed
        as_json = orjson.dumps(record)

        def bare_encode(record: Record = record, schema: object = schema) -> bytes:
            out = BytesIO()
            fastavro.schemaless_writer(out, schema, record.__dict__)  # type: ignore[arg-type]
            return out.getvalue()

        def bare_decode(body: bytes = value[5:], schema: object = schema) -> object:
            return fastavro.schemaless_reader(BytesIO(body), schema, None)  # type: ignore[arg-type]

        encoding: dict[str, Work] = {
            "codec": partial(codec.encode, record),
            "fastavro alone, unchecked": bare_encode,
            "orjson, for comparison": partial(orjson.dumps, record),
        }
        decoding: dict[str, Work] = {
            "codec": partial(codec.decode, value),
            "fastavro alone, unchecked": bare_decode,
            "orjson, for comparison": partial(orjson.loads, as_json),
        }
        figures = microseconds(encoding, repeats=repeats)
        table(f"encode {title}: {len(value)} bytes (JSON: {len(as_json)})", figures, "fastavro alone, unchecked")
        table(f"decode {title}", microseconds(decoding, repeats=repeats), "fastavro alone, unchecked")


def levels() -> None:
    """Depth records of which nothing, the best prices or all levels are used."""
    codec = Codec()
    prices, sizes = [6_168_600 + n for n in range(20)], [123_456_789 + n for n in range(20)]
    times = replace(DEPTH, epoch=TIME, exchange_time=TIME, received_time=TIME)
    value = codec.encode(replace(times, bid_prices=prices, bid_sizes=sizes, ask_prices=prices, ask_sizes=sizes))
    codec.decode_depth(value)
    figures = microseconds(
        {
            "as a whole": partial(codec.decode_as, Depth, value),
            "levels unread": partial(codec.decode_depth, value),
            "best prices": lambda: best_prices(codec.decode_depth(value)),
            "levels read later": lambda: read_levels(codec.decode_depth(value)),
        },
        repeats=500,
    )
    table(f"decode a Depth of 2 × 20 levels: {len(value)} bytes", figures, "as a whole")


def by_decimal(text: str, exponent: int) -> int:
    return int(Decimal(text).scaleb(-exponent))


def numbers() -> None:
    for text, exponent in (("61685.99", -2), ("61685.99000000", -2), ("61685", -2), ("0.00012300", -8), ("1e-5", -8)):
        figures = microseconds(
            {
                "mantissa": partial(mantissa, text, exponent),
                "Decimal": partial(by_decimal, text, exponent),
            },
            repeats=2000,
        )
        table(f"{text} to a mantissa at {exponent}", figures, "Decimal")
    figures = microseconds(
        {
            "decimal_text": lambda: decimal_text(6_168_599, -2),
            "Decimal": lambda: format(Decimal(6_168_599).scaleb(-2).normalize(), "f"),
        },
        repeats=2000,
    )
    table("6168599 at -2 to text", figures, "Decimal")


def main() -> None:
    records()
    levels()
    numbers()


if __name__ == "__main__":
    main()
