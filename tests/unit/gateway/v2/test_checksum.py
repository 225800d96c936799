from __future__ import annotations

from zlib import crc32

from gateway.v2.checksum import checksum


def test_it_is_the_documented_text() -> None:
    bids, asks = [("1", "0.005"), ("0.99", "0.006")], [("1.01", "0.007"), ("1.02", "0.008")]
    assert checksum(bids, asks) == crc32(b"1:0.005,0.99:0.006,|1.01:0.007,1.02:0.008,") == 1151982930


def test_only_the_best_ten_levels_count() -> None:
    levels = [(str(price), "1") for price in range(20)]
    assert checksum(levels, levels) == checksum(levels[:10], levels[:10])
    assert checksum(levels[:9], levels) != checksum(levels, levels)
    assert checksum([], []) == crc32(b"|")
