"""The lines of keys in a TOML text."""

from __future__ import annotations

from alphapulse.config.toml_lines import key_lines, line_of

TEXT = '''\
data_dir = "x"   # a comment = 1
[kafka]
bootstrap = "a:1"
log.level = "INFO"

[venues."binance_us"] # comment
symbols = [
    "BTC-USD",
    "a = b",
]
note = """
depth = 5
"""
depth = 7
inline = { a = 1 }
[[many]]
x = 1
'''


def test_tables_and_keys_have_their_lines() -> None:
    assert key_lines(TEXT) == {
        ("data_dir",): 1,
        ("kafka",): 2,
        ("kafka", "bootstrap"): 3,
        ("kafka", "log"): 4,
        ("kafka", "log", "level"): 4,
        ("venues",): 6,
        ("venues", "binance_us"): 6,
        ("venues", "binance_us", "symbols"): 7,
        ("venues", "binance_us", "note"): 11,
        ("venues", "binance_us", "depth"): 14,
        ("venues", "binance_us", "inline"): 15,
        ("many",): 16,
        ("many", "x"): 17,
    }


def test_the_nearest_line_around_a_key_counts() -> None:
    lines = key_lines(TEXT)
    assert line_of(("venues", "binance_us", "symbols", "1"), lines) == 7
    assert line_of(("venues", "binance_us", "inline", "a"), lines) == 15
    assert line_of(("venues", "kraken"), lines) == 6
    assert line_of(("gateway", "port"), lines) is None
    assert line_of((), lines) is None
