"""No frame, however mangled, makes a protocol raise: it is understood, ignored by name, or refused with its bytes.

Every venue there is takes part, with the sample frames of its own tests. ``make fuzz`` runs the same with the inputs of
a night: ``$FUZZ_FRAMES`` says how many frames there are to be in all (20,000 by default).
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from producers.feed.actions import FetchSnapshot, Refused
from producers.registry import load, names
from schemas.codec import Codec
from schemas.records import Candle, L2Update, Quote, Trade
from tests.fixtures.examples import examples
from tests.fixtures.protocol_run import ProtocolRun
from tests.fixtures.venue_samples import Samples, samples

FRAMES = int(os.environ.get("FUZZ_FRAMES", "20000"))
PER_SCRIPT = 40
"""Frames that a script has."""
SCRIPTS = max(1, FRAMES // PER_SCRIPT // len(names()))
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND

TOKENS = (
    b"", b"null", b"-1", b"1e400", b"0." + b"1" * 30, b"9" * 40, b"{}", b"[]", b'"', b"[" * 2000, b"\xff\xfe",
    b"\\ud800", b"\x00", b"NaN", b"true", b'"BTC-USD"', b"1e-400", b"-0", "٣".encode(), b'{"a":' * 50, b"snapshot",
    b"2300-01-01", b"1e-18", b"123456789012345678", b'"0.00"', b",", b"}]", b'"T":"t"', b'"type":',
    b'"channel":"l2_data"',
)  # fmt: skip
CODEC = Codec()


class Chance:
    """Takes one random script apart into choices: drawing each by itself would cost more than the protocols do."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def below(self, bound: int) -> int:
        """Return a number from 0 to ``bound - 1``."""
        two = self._data[self._at : self._at + 2]
        self._at += 2
        return int.from_bytes(two) % bound if len(two) == 2 else 0

    def some(self, most: int) -> bytes:
        """Return up to ``most`` bytes."""
        length = self.below(most + 1)
        found = self._data[self._at : self._at + length]
        self._at += length
        return found


def mangled(frame: bytes, chance: Chance) -> bytes:
    for _ in range(chance.below(4)):
        at, length = chance.below(len(frame) + 1), chance.below(13)
        token = TOKENS[chance.below(len(TOKENS))] if chance.below(2) else chance.some(6)
        frame = frame[:at] + token + frame[at + length :]
    return frame


def feed(protocol_run: ProtocolRun, frame: bytes, time: int) -> None:
    before = protocol_run.protocol.refused
    outputs = protocol_run.protocol.receive(frame, time)
    refused = [output for output in outputs if isinstance(output, Refused)]
    assert protocol_run.protocol.refused - before == len(refused) <= 1
    for refusal in refused:
        assert refusal.value == frame
        assert refusal.reason
        (refusal.reason + (refusal.symbol or "")).encode()  # fit for a record
    for output in outputs:
        if isinstance(output, L2Update | Trade | Quote | Candle):
            assert CODEC.decode(CODEC.encode(output)) == output
    protocol_run.take(outputs)
    for state in protocol_run.protocol.instruments.values():
        assert protocol_run.valid(state.symbol) == state.book.valid


def play(venue: str, sample: Samples, data: bytes) -> None:
    """Feed a protocol one script: sample frames, most of them mangled."""
    protocol_run, chance, time = ProtocolRun(load(venue).protocol(sample.settings)), Chance(data), START
    protocol_run.protocol.subscribe()
    for frame in sample.frames[:2]:
        feed(protocol_run, frame, time)
    for _ in range(PER_SCRIPT - 2):
        time += chance.below(1000) * SECOND // 100
        request = protocol_run.wanted.pop(sample.symbol, None)
        if isinstance(request, FetchSnapshot) and chance.below(2):
            protocol_run.take(protocol_run.protocol.snapshot(request, mangled(sample.answer, chance), time))
        protocol_run.take(protocol_run.protocol.retry(time / SECOND))
        feed(protocol_run, mangled(sample.frames[chance.below(len(sample.frames))], chance), time)
    protocol_run.take(protocol_run.protocol.overdue(time))
    protocol_run.take(protocol_run.protocol.disconnected(time))
    assert not protocol_run.valid(sample.symbol)
    assert protocol_run.protocol.waiting == 0


@pytest.mark.timeout(180 + FRAMES // 500)
@pytest.mark.parametrize("venue", names())
def test_no_mangled_frame_raises(venue: str) -> None:
    sample = samples(venue)

    @settings(
        max_examples=SCRIPTS,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example, HealthCheck.data_too_large],
    )
    @given(data=st.binary(min_size=900, max_size=1200))
    def scripts(data: bytes) -> None:
        play(venue, sample, data)

    scripts()


@pytest.mark.parametrize("venue", names())
@settings(max_examples=examples(50), deadline=None)
@given(frame=st.binary(max_size=200))
def test_no_bytes_raise(venue: str, frame: bytes) -> None:
    feed(ProtocolRun(load(venue).protocol(samples(venue).settings)), frame, START)


@pytest.mark.parametrize("venue", names())
def test_the_sample_frames_are_understood(venue: str) -> None:
    sample = samples(venue)
    protocol_run = ProtocolRun(load(venue).protocol(sample.settings))
    for frame in sample.frames:
        feed(protocol_run, frame, START)
    assert protocol_run.refused == []
    assert protocol_run.protocol.instruments[sample.symbol].tally.trades > 0
