from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest

from alphapulse import topics
from schemas.checkpoints import MANIFEST_KEY, Manifest, Unreadable, pack, unpack
from schemas.codec import Codec
from schemas.records import ArbitrageOpportunity, Depth, L2Update, Record, Trade
from stream_processors.checkpoints import checkpoint
from stream_processors.checkpoints.checkpoint import CheckpointLedger, Restored, interpret
from stream_processors.processing.arbitrage import ArbitrageRules
from stream_processors.processing.instrument import Rules
from stream_processors.processing.partition import Partition
from stream_processors.processing.state import InstrumentRecord
from tests.fixtures.l2_feed import Feed
from tests.fixtures.market import SECOND, START, depth

CODEC = Codec()


def partition() -> Partition:
    return Partition(3, Rules(), ArbitrageRules())


def apply(to: Partition, records: Iterable[Record], skip: bool = False) -> list[Record]:
    """Apply records, each at the next offset of its topic; ``skip``: those below the positions were read before."""
    del skip
    out: list[Record] = []
    for record in records:
        match record:
            case L2Update():
                topic, how = topics.L2, to.apply_l2
            case Trade():
                topic, how = topics.TRADES, to.apply_trade  # type: ignore[assignment]
            case _:
                topic, how = topics.DEPTH, to.apply_depth  # type: ignore[assignment]
        offset = to.positions.get(topic, 0)
        how(offset, record, START + 2 * SECOND, out)  # type: ignore[arg-type]
        to.positions[topic] = offset + 1
    return out


def newest(*takes: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    return {key: value for taken in takes for key, value in taken}


def restored(*takes: list[tuple[bytes, bytes]]) -> Restored:
    found = interpret(newest(*takes))
    assert found is not None
    return found


def made_again(found: Restored) -> Partition:
    again = partition()
    for instrument in found.instruments.values():
        again.restore_instrument(instrument, 0)
    for record in found.symbols.values():
        again.restore_symbol(
            record.symbol,
            [CODEC.decode_as(Depth, book) for book in record.books],
            [CODEC.decode_as(ArbitrageOpportunity, made) for made in record.opportunities],
            record.positions,
        )
    again.positions = dict(found.positions)
    return again


def test_a_partition_is_made_again_from_its_checkpoint() -> None:
    one = partition()
    feeds = [Feed("kraken"), Feed("coinbase", seed=2, middle=6_000_150)]
    for feed in feeds:
        apply(one, feed.run(50))
    apply(
        one,
        [depth(venue="kraken", bids=[(100, 5)], asks=[(101, 5)]), depth(venue="coinbase", bids=[(105, 5)], asks=[])],
    )
    again = made_again(restored(CheckpointLedger().take(one, CODEC, {topics.CANDLES: 7})))
    assert again.positions == one.positions
    assert again.instruments.keys() == {"kraken|BTC-USD", "coinbase|BTC-USD"}
    for feed in feeds:
        key = f"{feed.venue}|{feed.symbol}"
        assert again.instruments[key].reader.book.text(-2, -8) == feed.book().book.text(-2, -8)
        assert again.instruments[key].totals == one.instruments[key].totals
        assert again.instruments[key].ids.ranges == [(1, len(feed.trades))]
    assert again.symbols["BTC-USD"].books == one.symbols["BTC-USD"].books
    assert again.symbols["BTC-USD"].open == one.symbols["BTC-USD"].open != {}
    # Both go on alike.
    more = list(feeds[0].run(30))
    trades = [record for record in apply(one, more) if record.__class__.__name__ == "Candle"]
    assert [record for record in apply(again, more) if record.__class__.__name__ == "Candle"] == trades


def test_only_what_changed_is_written_again_until_it_fades(monkeypatch: pytest.MonkeyPatch) -> None:
    one, ledger = partition(), CheckpointLedger()
    feeds = [Feed("kraken"), Feed("coinbase", seed=2)]
    for feed in feeds:
        apply(one, feed.run(5))
    apply(one, [depth()])
    first = ledger.take(one, CODEC, {})
    assert [key for key, _ in first] == [b"kraken|BTC-USD", b"coinbase|BTC-USD", b"BTC-USD", MANIFEST_KEY]
    apply(one, feeds[0].run(5))
    second = ledger.take(one, CODEC, {})
    assert [key for key, _ in second] == [b"kraken|BTC-USD", MANIFEST_KEY]
    assert restored(first, second).lost == {}
    monkeypatch.setattr(checkpoint, "REWRITE_BYTES", 100)
    apply(one, feeds[0].run(5))
    third = ledger.take(one, CODEC, {})
    assert [key for key, _ in third] == [b"kraken|BTC-USD", b"coinbase|BTC-USD", b"BTC-USD", MANIFEST_KEY]
    assert restored(third).lost == {}


def test_a_round_cut_off_before_its_manifest_does_no_harm() -> None:
    """One instrument is ahead of the manifest: what it has applied already is not applied to it again."""
    one, ledger = partition(), CheckpointLedger()
    feeds = [Feed("kraken"), Feed("coinbase", seed=2)]
    for feed in feeds:
        apply(one, feed.run(20))
    first = ledger.take(one, CODEC, {})
    since = [record for feed in feeds for record in feed.run(20)]
    apply(one, since)
    second = ledger.take(one, CODEC, {})
    found = restored(first, second[:1])
    assert found.lost == {}
    assert found.positions == unpack(Manifest, first[-1][1]).positions
    again = made_again(found)
    apply(again, since)
    for key in one.instruments:
        assert again.instruments[key].totals == one.instruments[key].totals
        assert again.instruments[key].reader.book.text(-2, -8) == one.instruments[key].reader.book.text(-2, -8)


def test_a_missing_record_sends_the_partition_back_to_its_beginning() -> None:
    one = partition()
    feeds = [Feed("kraken"), Feed("coinbase", seed=2)]
    records = [record for feed in feeds for record in feed.run(20)]
    apply(one, records)
    taken = CheckpointLedger().take(one, CODEC, {})
    found = restored(taken[1:])
    assert found.lost == {"kraken|BTC-USD": "missing"}
    assert found.positions == {topics.L2: 0, topics.TRADES: 0}
    again = made_again(found)
    apply(again, records)
    for key in one.instruments:
        assert again.instruments[key].totals == one.instruments[key].totals


def test_a_record_overwritten_by_a_worker_of_the_past_sends_it_back_as_far_as_needed() -> None:
    one, ledger = partition(), CheckpointLedger()
    feed = Feed("kraken")
    apply(one, feed.run(20))
    early = ledger.take(one, CODEC, {})
    since = list(feed.run(20))
    apply(one, since)
    late = ledger.take(one, CODEC, {})
    found = restored(late, early[:1])
    assert found.lost == {"kraken|BTC-USD": "older than its manifest"}
    assert found.positions == unpack(InstrumentRecord, early[0][1]).positions
    again = made_again(found)
    apply(again, since)
    assert again.instruments["kraken|BTC-USD"].totals == one.instruments["kraken|BTC-USD"].totals


def test_an_unreadable_record_counts_as_lost_and_an_unreadable_manifest_is_refused() -> None:
    one = partition()
    apply(one, [depth()])
    apply(one, Feed().run(3))
    records = newest(CheckpointLedger().take(one, CODEC, {}))
    found = interpret(records | {b"kraken|BTC-USD": b"?", b"BTC-USD": b"?"})
    assert found is not None
    assert found.lost.keys() == {"kraken|BTC-USD", "BTC-USD"}
    assert set(found.positions.values()) == {0}
    with pytest.raises(Unreadable):
        interpret(records | {MANIFEST_KEY: b"?"})


def test_without_a_manifest_there_is_no_checkpoint() -> None:
    one = partition()
    apply(one, Feed().run(3))
    assert interpret({}) is None
    assert interpret(newest(CheckpointLedger().take(one, CODEC, {})[:-1])) is None


def test_the_manifest_tells_from_where_to_look_for_what_was_published() -> None:
    one, ledger = partition(), CheckpointLedger()
    apply(one, Feed().run(3))
    ledger.take(one, CODEC, {topics.CANDLES: 9})
    assert restored(ledger.take(one, CODEC, {topics.CANDLES: 5, topics.STATS: 2})).published == {
        topics.CANDLES: 9,
        topics.STATS: 2,
    }
    assert pack(Manifest(1, {}, {}, {})) != b""


def test_a_heartbeat_is_kept_without_writing_the_book_again() -> None:
    one, ledger = partition(), CheckpointLedger()
    feed = Feed()
    apply(one, feed.run(5))
    first = ledger.take(one, CODEC, {})
    apply(one, [feed.heartbeat(START + 90 * SECOND)])
    second = ledger.take(one, CODEC, {})
    assert [key for key, _ in second] == [MANIFEST_KEY]
    again = made_again(restored(first, second))
    assert again.instruments["kraken|BTC-USD"].reader.received_time == START + 90 * SECOND
    # A record that is not the one the manifest speaks of has times of its own.
    apply(one, feed.run(5))
    ahead = made_again(restored(first, second, ledger.take(one, CODEC, {})[:1]))
    assert ahead.instruments["kraken|BTC-USD"].reader.received_time == feed.last_received


def test_a_checkpoint_of_an_earlier_release_is_read() -> None:
    manifest = msgspec.msgpack.encode([1, {topics.L2: 3}, {}, {}])
    found = interpret({MANIFEST_KEY: manifest})
    assert found is not None
    assert found.positions == {topics.L2: 3}


def test_where_a_symbol_was_lost_all_that_was_published_of_opportunities_is_read_back() -> None:
    one = partition()
    apply(one, [depth()])
    apply(one, Feed().run(3))
    taken = CheckpointLedger().take(one, CODEC, {topics.ARBITRAGE: 5, topics.CANDLES: 6})
    assert restored(taken).published == {topics.ARBITRAGE: 5, topics.CANDLES: 6}
    records = newest(taken)
    for key, published in ((b"kraken|BTC-USD", {topics.ARBITRAGE: 5}), (b"BTC-USD", {})):
        found = interpret(records | {key: b"?"})
        assert found is not None
        assert found.published == published | {topics.CANDLES: 6}
