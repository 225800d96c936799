"""Whatever a venue refuses, for good or in passing: all that it has is subscribed to in the end, and the rest named."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.feed.actions import Send
from producers.registry import names
from tests.fixtures.conversation import Conversation, spelled
from tests.fixtures.examples import examples

SILENT_ABOUT_UNKNOWN = ("binance", "binance_us", "bitstamp")
"""They list or confirm what does not exist like the rest, and say nothing of it."""


@st.composite
def troubles(draw: st.DrawFn) -> tuple[int, set[int], list[int]]:
    count = draw(st.integers(1, 24))
    unknown = draw(st.sets(st.integers(0, count - 1), max_size=count))
    return count, unknown, draw(st.lists(st.integers(0, 40), min_size=1, max_size=3))


@pytest.mark.parametrize("venue", names())
@given(trouble=troubles())
@settings(max_examples=examples(20))
def test_everything_the_venue_has_is_subscribed_to_and_the_rest_is_named(
    venue: str, trouble: tuple[int, set[int], list[int]]
) -> None:
    count, numbers, refusals = trouble
    symbols = [spelled(venue, number) for number in range(count)]
    unknown = {symbols[number] for number in numbers}
    it = Conversation(venue, symbols, unknown)
    for more in refusals:
        it.refusals = more
        it.go_on(10)
        for symbol in symbols[: more % 3] if it.protocol.BOOK else ():
            it.act([output for output in it.protocol.resubscribe(symbol) if isinstance(output, Send)])
        it.go_on(more)
        it.disconnect()
        it.connect()
    it.refusals = 0
    it.go_on(150)
    assert it.complete
    if venue not in SILENT_ABOUT_UNKNOWN:
        assert unknown <= it.told()
        assert {symbol for symbol in it.protocol.refusals() if symbol} == unknown
    before = len(it.sent)
    it.go_on(1200)
    assert len(it.sent) - before <= 3 * 2 * 2 * len(unknown) + 4, "pauses grow, and what is right is left alone"
