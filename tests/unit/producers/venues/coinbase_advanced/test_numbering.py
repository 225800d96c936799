"""producers.venues.coinbase_advanced.numbering"""

from __future__ import annotations

import pytest

from producers.venues.coinbase_advanced.numbering import RecordedNumbers
from producers.venues.coinbase_advanced.server import CoinbaseAdvancedSession

LATE = -1


def frame(number: int) -> bytes:
    return b'{"channel":"l2_data","sequence_num":%d,"events":[]}' % number


def steps(*numbers: int) -> list[int]:
    """Return how many frames are missing before each; LATE: it is nobody's next."""
    recorded = RecordedNumbers()
    found = []
    for number in numbers:
        sent, missing = recorded.prepare(frame(number))
        if sent == frame(0):
            found.append(LATE)
        else:
            assert sent == frame(-1)
            found.append(missing)
    return found


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [
        ((0, 1, 2, 3), [0, 0, 0, 0]),
        ((0, 1, 4, 5), [0, 0, 2, 0]),
        ((0, 1, 1, 2), [0, 0, LATE, 0]),
        ((0, 2, 1, 3), [0, 1, LATE, 0]),
        # the recorder came back
        ((0, 1, 2, 0, 1, 2, 3), [0] * 7),
        # the file begins in the middle
        ((512, 513, 515), [0, 0, 1]),
        # two connections, from the beginning and from their middle
        ((0, 0, 1, 1, 2, 2, 3, 3), [0] * 8),
        ((0, 1, 2, 0, 3, 1, 5, 2), [0, 0, 0, 0, 0, 0, 1, 0]),
        ((70_000, 200, 70_001, 201, 203), [0, 0, 0, 0, 1]),
        # the gap of one reaches the other's number: it shows a frame later
        ((500, 501, 502, 501, 504, 503, 505), [0, 0, 0, LATE, 1, LATE, 0]),
    ],
)
def test_what_is_missing_of_the_recorders_connections(numbers: tuple[int, ...], missing: list[int]) -> None:
    assert steps(*numbers) == missing


def test_frames_without_a_number_stay_as_they_are() -> None:
    recorded = RecordedNumbers()
    for other in (b'{"type":"error","message":"no"}', b'{"channel":"l2_data","sequence_num":1', b"\xff"):
        assert recorded.prepare(other) == (other, 0)


def test_a_number_is_found_wherever_it_stands() -> None:
    spaced = b'{"channel": "heartbeats", "events": [], "sequence_num": 5 }'
    assert RecordedNumbers().prepare(spaced)[0] == b'{"channel": "heartbeats", "events": [], "sequence_num":-1 }'


def test_a_session_numbers_recorded_frames_with_its_own_and_passes_losses_on() -> None:
    session, recorded = CoinbaseAdvancedSession(["A-B"]), RecordedNumbers()
    (listing,) = session.received(b'{"type":"subscribe","channel":"level2","product_ids":["A-B"]}', 0).replies
    assert b'"sequence_num":0,' in session.outgoing(listing)
    sent = []
    for number in (7, 8, 11):
        prepared, missing = recorded.prepare(frame(number))
        session.next_number += missing
        sent.append(session.outgoing(prepared))
    assert sent == [frame(1), frame(2), frame(5)]


@pytest.mark.parametrize(
    ("listed", "asked"), [("BTC-USD", "BTC-USDC"), ("BTC-USDC", "BTC-USDC"), ("BTC-USD", "BTC-USD")]
)
def test_a_recorded_product_is_found_by_either_of_its_names(listed: str, asked: str) -> None:
    session = CoinbaseAdvancedSession([listed])
    request = b'{"type":"subscribe","channel":"level2","product_ids":["%s"]}' % asked.encode()
    assert [new.symbol for new in session.received(request, 0).added] == [listed]
