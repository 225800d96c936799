"""Depth records whose levels are decoded at their first use.

That they are the same records, and refused for the same faults, is in tests/property/test_depth_reader.py.
"""

from __future__ import annotations

import copy
import struct
from dataclasses import replace

import pytest

from alphapulse.errors import RecordRefused
from schemas.codec import Codec
from schemas.definitions import definition
from schemas.lazy_levels import LEVELS, UNREAD, best_prices, read_levels
from schemas.records import Depth, Trade
from schemas.registry import LocalRegistry
from tests.fixtures.records import DEPTH, TRADE

FULL = replace(
    DEPTH,
    bid_prices=[6_168_599 - n for n in range(20)],
    bid_sizes=[10**n for n in range(18)] + [1, 2],
    ask_prices=[6_168_600 + n for n in range(20)],
    ask_sizes=[63, 64, 65, -64, -65, 8191, 8192, *range(1, 14)],
)


def decoded(record: Depth) -> Depth:
    """Decode ``record`` by a codec that knows its schema already: the first record is decoded as a whole."""
    codec = Codec()
    codec.decode_depth(codec.encode(DEPTH))
    return codec.decode_depth(codec.encode(record))


def test_levels_are_decoded_when_one_is_asked_for() -> None:
    record = decoded(FULL)
    assert not record.__dict__.keys() & set(LEVELS)
    assert (record.venue, record.sequence) == (FULL.venue, FULL.sequence)
    assert best_prices(record) == (FULL.bid_prices[0], FULL.ask_prices[0])
    assert not record.__dict__.keys() & set(LEVELS), "the best prices need no others"
    assert record.ask_sizes == FULL.ask_sizes
    assert record.__dict__ == FULL.__dict__
    assert not read_levels(record)
    assert best_prices(record) == (FULL.bid_prices[0], FULL.ask_prices[0])


@pytest.mark.parametrize("bids", [[], [5, 4]])
@pytest.mark.parametrize("asks", [[], [-7, 2**62]])
def test_best_prices_of_any_book(bids: list[int], asks: list[int]) -> None:
    record = replace(FULL, bid_prices=bids, bid_sizes=bids, ask_prices=asks, ask_sizes=asks)
    best = (bids[0] if bids else None, asks[0] if asks else None)
    assert best_prices(record) == best_prices(decoded(record)) == best


@pytest.mark.parametrize("levels", [0, 2, 63])
def test_any_number_of_levels(levels: int) -> None:
    bids, asks = [5] * levels, [7] * (levels // 2)
    record = replace(FULL, bid_prices=bids, bid_sizes=bids, ask_prices=asks, ask_sizes=asks)
    found = decoded(record)
    assert UNREAD in found.__dict__
    assert found == record


@pytest.mark.parametrize(
    "unusual",
    [
        replace(FULL, bid_prices=[0, *FULL.bid_prices[1:]]),
        replace(FULL, ask_sizes=[2**62, *FULL.ask_sizes[1:]]),
        replace(FULL, ask_prices=[1] * 64, ask_sizes=[1] * 64),
        replace(FULL, ask_prices=[], ask_sizes=[]),
    ],
    ids=["an item of zero", "an integer of 64 bits", "64 levels", "a side alone"],
)
def test_what_is_not_read_here_is_decoded_as_a_whole(unusual: Depth) -> None:
    found = decoded(unusual)
    assert UNREAD not in found.__dict__
    assert found == unusual


def test_a_record_is_the_same_read_or_unread() -> None:
    assert decoded(FULL) == FULL
    assert decoded(FULL) != replace(FULL, ask_sizes=[1] * 20)
    assert repr(decoded(FULL)) == repr(FULL)
    assert replace(decoded(FULL), sequence=FULL.sequence) == FULL
    record = decoded(FULL)
    twin = copy.copy(record)
    assert twin == FULL
    assert record == FULL, "to read a copy takes nothing from it"


def test_an_unread_record_is_encoded_again() -> None:
    value = Codec().encode(FULL)
    assert Codec().encode(decoded(FULL)) == value


def test_what_a_record_does_not_have_is_missing() -> None:
    for record in (FULL, decoded(FULL)):
        with pytest.raises(AttributeError, match="'Depth' has no attribute 'bid_price'"):
            record.bid_price  # type: ignore[attr-defined]  # noqa: B018


def test_another_schema_is_decoded_as_a_whole() -> None:
    codec = Codec()
    with pytest.raises(RecordRefused, match="expected Depth, found Trade"):
        codec.decode_depth(codec.encode(TRADE))
    with pytest.raises(RecordRefused, match="expected Depth, found Trade"):
        codec.decode_depth(codec.encode(TRADE))
    with pytest.raises(RecordRefused, match="not in the Confluent wire format"):
        codec.decode_depth(b"\0\0")

    class Renumbered(LocalRegistry):
        """Our schema with another default, so not the same text, under id 7."""

        def schema(self, schema_id: int) -> dict[str, object] | None:
            if schema_id != 7:
                return super().schema(schema_id)
            parsed = copy.deepcopy(definition(Depth).parsed)
            parsed["fields"][2] = {"name": "valid", "type": ["boolean", "null"]}
            return parsed

    other = Codec(Renumbered())
    body = other.encode(FULL)[5:]
    at = 2 + len(FULL.venue) + len(FULL.symbol)
    value = struct.pack(">bI", 0, 7) + body[:at] + b"\0" + body[at:]
    for _ in range(2):
        found = other.decode_depth(value)
        assert found == FULL
        assert UNREAD not in found.__dict__


def test_a_codec_has_the_right_decoder_of_each_class() -> None:
    codec = Codec()
    assert codec.decoder(Trade)(codec.encode(TRADE)) == TRADE
    assert codec.decoder(Depth)(codec.encode(FULL)) == FULL
