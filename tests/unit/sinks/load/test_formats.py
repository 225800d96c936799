from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import pytest

from alphapulse.fixed import decimal_text
from schemas.records import L2Update, Trade
from sinks.load.faults import SourceRefused
from sinks.load.symbols import Symbols
from sinks.load.unit import Unit
from tests.fixtures.vendor_truth import FILES
from tests.unit.sinks.load.rows import made, trades, updates

HEAD = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"


def said(trade: Trade) -> tuple[str, ...]:
    price = decimal_text(trade.price, trade.price_exponent)
    size = decimal_text(trade.size, trade.size_exponent)
    return (trade.venue, trade.symbol, trade.trade_id, trade.side, price, size)


def test_tardis_trades_have_the_aggressor_and_ids_made_of_time_and_place() -> None:
    found = trades(FILES / "kraken_trades_2021-02-01_XBTUSD.csv")
    assert [said(trade) for trade in found] == [
        ("kraken", "BTC-USD", "@1612137600234567000.0", "BUY", "33136.6", "0.02"),
        ("kraken", "BTC-USD", "@1612137600234567000.1", "SELL", "33136.5", "1.5"),
        ("kraken", "BTC-USD", "@1612137601100002000.0", "UNKNOWN", "33136.55", "0.00000001"),
        ("kraken", "BTC-USD", "@1612137602000100000.0", "BUY", "33140", "12"),
    ]
    assert (found[0].exchange_time, found[0].received_time) == (1612137600123456000, 1612137600234567000)
    assert {(trade.price_exponent, trade.size_exponent) for trade in found} == {(-8, -8)}


def test_a_trade_repeated_in_the_file_is_one() -> None:
    records, survey, counts, faults = made(FILES / "coinbase_trades_2021-02-01_BTC-USD.csv")
    assert [trade.trade_id for trade in records if isinstance(trade, Trade)] == ["124999001", "124999002", "124999003"]
    assert (survey.rows, counts.repeated, faults) == (4, 1, [])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "BTCUSDT-trades-2024-12-31.csv",
            [
                ("binance", "BTC-USDT", "4359871201", "SELL", "92792.05", "0.00012", 1735603200012000000),
                ("binance", "BTC-USDT", "4359871202", "BUY", "92792.06", "0.015", 1735603200012000000),
                ("binance", "BTC-USDT", "4359871203", "SELL", "92790", "1", 1735603201999000000),
            ],
        ),
        (
            "BTCUSDT-trades-2025-01-01.csv",
            [
                ("binance", "BTC-USDT", "4360000001", "BUY", "93576", "0.005", 1735689600003456000),
                ("binance", "BTC-USDT", "4360000002", "SELL", "93576.01", "0.00021", 1735689600123457000),
            ],
        ),
        (
            "BTCUSDT-aggTrades-2025-01-01.csv",
            [
                ("binance", "BTC-USDT", "agg-3358000001", "BUY", "93576", "0.00521", 1735689600003456000),
                ("binance", "BTC-USDT", "agg-3358000002", "SELL", "93577.5", "1", 1735689600500000000),
            ],
        ),
        (
            "futures/ETHUSDT-trades-2024-03-01.csv",
            [
                ("binance_futures", "ETH-USDT", "3700000001", "SELL", "3400.12", "0.5", 1709251200001000000),
                ("binance_futures", "ETH-USDT", "3700000002", "BUY", "3400.13", "12", 1709251200002000000),
            ],
        ),
        (
            "futures/ETHUSDT-aggTrades-2024-03-01.csv",
            [("binance_futures", "ETH-USDT", "agg-1600000001", "SELL", "3400.12", "12.5", 1709251200001000000)],
        ),
    ],
)
def test_binance_files_with_and_without_header_in_milli_and_microseconds(
    name: str, expected: list[tuple[str | int, ...]]
) -> None:
    found = trades(FILES / name)
    assert [(*said(trade), trade.exchange_time) for trade in found] == expected
    assert all(trade.received_time == trade.exchange_time for trade in found)


def test_archives_of_binance_and_columns_in_another_order(tmp_path: Path) -> None:
    plain = FILES / "BTCUSDT-trades-2025-01-01.csv"
    with zipfile.ZipFile(tmp_path / "BTCUSDT-trades-2025-01-01.zip", "w") as archive:
        archive.write(plain, plain.name)
    assert trades(tmp_path / "BTCUSDT-trades-2025-01-01.zip") == trades(plain)
    packed = tmp_path / "x.csv.gz"
    packed.write_bytes(
        gzip.compress(
            b"price,amount,side,id,extra,exchange,symbol,timestamp,local_timestamp\r\n"
            b"1.5,2,buy,a,,coinbase,BTC-USD,1612137600300000,1612137600350000\r\n"
        )
    )
    assert said(trades(packed)[0]) == ("coinbase", "BTC-USD", "a", "BUY", "1.5", "2")


def sides(update: L2Update) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    def texts(prices: list[int], sizes: list[int]) -> list[tuple[str, str]]:
        return [
            (decimal_text(price, update.price_exponent), decimal_text(size, update.size_exponent))
            for price, size in zip(prices, sizes, strict=True)
        ]

    return texts(update.bid_prices, update.bid_sizes), texts(update.ask_prices, update.ask_sizes)


def test_incremental_books_become_snapshots_deltas_and_an_end() -> None:
    records, survey, counts, _ = made(FILES / "bitstamp_incremental_book_L2_2021-02-01_BTCUSD.csv")
    found = [update for update in records if isinstance(update, L2Update)]
    first, second = 1612137600050000000, 1612137610050000000
    assert [(update.kind, update.epoch, update.sequence) for update in found] == [
        ("SNAPSHOT", first, 0),
        ("DELTA", first, 1),
        ("DELTA", first, 2),
        ("SNAPSHOT", second, 0),
        ("DELTA", second, 1),
        ("INVALID", second, 2),
    ]
    assert {(update.venue, update.symbol) for update in found} == {("bitstamp", "BTC-USD")}
    assert sides(found[0]) == (
        [("33136.5", "1.5"), ("33136.4", "0.25")],
        [("33136.6", "0.75"), ("33137", "3")],
    )
    assert sides(found[1]) == ([("33136.5", "0")], [("33136.6", "0.5")])
    assert (found[1].exchange_time, found[1].received_time) == (1612137600500000000, 1612137600550000000)
    (left,) = counts.homeless
    assert (left.first, left.last, left.rows, left.reason) == (2, 2, 1, "no snapshot before them")
    assert survey.rows == 11


def test_each_row_of_a_book_snapshot_is_a_snapshot() -> None:
    found = updates(FILES / "binance_book_snapshot_5_2021-02-01_BTCUSDT.csv")
    times = [1612137600035123000, 1612137600135123000, 1612137600135123001]
    assert [(u.kind, u.epoch, u.sequence) for u in found] == [
        *(("SNAPSHOT", time, 0) for time in times),
        ("INVALID", times[-1], 1),
    ]
    assert sides(found[0])[0] == [
        ("33136.5", "1.25"), ("33136.4", "2"), ("33136.3", "3"), ("33136.2", "4"), ("33136.1", "5"),
    ]  # fmt: skip
    assert sides(found[2]) == ([("33136.5", "1.25")], [("33136.6", "0.3"), ("33136.7", "1")])


@pytest.mark.parametrize("block_bytes", [200, 333, 1000])
@pytest.mark.parametrize(
    "name",
    [
        "bitstamp_incremental_book_L2_2021-02-01_BTCUSD.csv",
        "binance_book_snapshot_5_2021-02-01_BTCUSDT.csv",
        "kraken_trades_2021-02-01_XBTUSD.csv",
    ],
)
def test_records_do_not_depend_on_blocks(name: str, block_bytes: int) -> None:
    assert made(FILES / name, block_bytes=block_bytes)[0] == made(FILES / name)[0]


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        ("kraken,XBT/USD,1612137600123456,1612137600234567,,buy,1,5,2", "", "9 fields instead of 8"),
        ("kraken,XBT/USD,1612137600123,1612137600234567,,buy,1,2", "timestamp", "not a time in microseconds"),
        ("kraken,XBT/USD,1612137600123456,x,,buy,1,2", "local_timestamp", "not a decimal number: 'x'"),
        (
            "kraken,XBT/USD,1612137600123456,1612137600234567,,long,1,2",
            "side",
            "expected buy or sell or unknown, found",
        ),
        ("kraken,XBT/USD,1612137600123456,1612137600234567,,buy,1;5,2", "price", "not a decimal number: '1;5'"),
        ("kraken,XBT/USD,1612137600123456,1612137600234567,,buy,1,-2", "amount", "less than 0: '-2'"),
        ("kraken,XBTUSD,1612137600123456,1612137600234567,,buy,1,2", "symbol", "--symbol XBTUSD=BASE-QUOTE"),
        ("9x,XBT/USD,1612137600123456,1612137600234567,,buy,1,2", "symbol", "--venue"),
        ("kraken,XBT/USD,1612137600123456,1612137600234567,,buy,1e30,2", "price", "does not fit"),
    ],
)
def test_a_bad_row_has_line_column_and_reason(tmp_path: Path, row: str, column: str, reason: str) -> None:
    good = "kraken,XBT/USD,1612137600123456,1612137600234567,7,buy,1.5,2\n"
    path = tmp_path / "trades.csv"
    path.write_text(f"{HEAD}{good}{row}\n{good.replace(',7,', ',8,')}", encoding="utf-8")
    records, survey, _, faults = made(path)
    assert [trade.trade_id for trade in records if isinstance(trade, Trade)] == ["7", "8"]
    (fault,) = faults
    assert (fault.line, fault.column, fault.text) == (3, column, row)
    assert reason in fault.reason
    assert fault.told(path).startswith(f"{path}:3: ")
    assert survey.faults.first == faults


def test_other_files_are_refused_with_what_is_known(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("time,open,high\n1,2,3\n", encoding="utf-8")
    with pytest.raises(SourceRefused, match=r"other\.csv:1: no known format: 'time,open,high'; known: Tardis"):
        Unit(path, Symbols(None, {}, None))
    path.write_text("", encoding="utf-8")
    with pytest.raises(SourceRefused, match=r"other\.csv:1: the file is empty"):
        Unit(path, Symbols(None, {}, None))


def test_more_decimals_than_usual_and_large_numbers_choose_the_exponent(tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"

    def load(*pairs: tuple[str, str]) -> list[Trade]:
        rows = [
            f"kraken,XBT/USD,1612137600123456,1612137600234567,{number},buy,{price},{size}\n"
            for number, (price, size) in enumerate(pairs)
        ]
        path.write_text(HEAD + "".join(rows), encoding="utf-8")
        return trades(path)

    fine, usual = load(("0.0000000012", "1"), ("3.5000000000", "1"))
    assert (fine.price_exponent, fine.price, usual.price) == (-10, 12, 35000000000)
    large, _ = load(("1", "92233720368547758.5"), ("1", "1"))
    assert (large.size_exponent, large.size) == (-1, 922337203685477585)
    with pytest.raises(SourceRefused, match=r"sizes of kraken\|BTC-USD have up to 12 decimals and are as large as"):
        load(("1", "92233720368547758"), ("1", "0.000000000001"))


def test_symbols_and_venue_may_be_given() -> None:
    path = FILES / "kraken_trades_2021-02-01_XBTUSD.csv"
    records, *_ = made(path, symbols=Symbols("lab", {"XBT/USD": "XBT-USD"}, None))
    assert {(record.venue, record.symbol) for record in records if isinstance(record, Trade)} == {("lab", "XBT-USD")}
    # Another name of the venue does not change the rules of its symbols.
    records, *_ = made(path, symbols=Symbols("archive", {}, None))
    assert {record.symbol for record in records if isinstance(record, Trade)} == {"BTC-USD"}
    records, *_ = made(path, symbols=Symbols(None, {}, "GOLD-USD"))
    assert {(record.venue, record.symbol) for record in records if isinstance(record, Trade)} == {
        ("kraken", "GOLD-USD")
    }
