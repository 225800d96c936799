"""When books are confirmed, when the venue is asked for a sign of life, and what becomes of books read too late."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

import pytest

from alphapulse.config import FreshnessSettings, VenueSettings
from producers.collector.pulse import ANSWER_SECONDS, Pulse
from producers.feed.actions import Note, Outputs
from producers.feed.protocol import VenueProtocol
from producers.venues.coinbase.protocol import CoinbaseProtocol
from schemas.book_reader import BookReader
from schemas.records import L2Update
from tests.fixtures.virtual_time import run

MS = 1_000_000
SECOND = 1_000_000_000
START = 1_790_000_000 * SECOND
SYMBOLS = ("BTC-USD", "ETH-USD")


def snapshot(symbol: str) -> bytes:
    return b'{"type":"snapshot","product_id":"%s","bids":[["10.00","1"]],"asks":[["11.00","2.5"]]}' % symbol.encode()


def update(symbol: str, price: str = "9.00", time: str = "") -> bytes:
    return b'{"type":"l2update","product_id":"%s","changes":[["buy","%s","1"]],"time":"%s"}' % (
        symbol.encode(),
        price.encode(),
        time.encode(),
    )


def heartbeat() -> bytes:
    return b'{"type":"heartbeat","product_id":"BTC-USD","sequence":1,"last_trade_id":0,"time":""}'


class Collecting:
    """A line with its connection and its collector, as far as a pulse needs them; time is the virtual loop's."""

    def __init__(self, **freshness: int) -> None:
        self.freshness = FreshnessSettings(**freshness)
        self.publisher = self
        self.full = False
        self.roomed = 0
        self.waiting = 0
        self.asked: list[int] = []
        self.alive = self.textual = False
        self.answer: asyncio.Future[bool] | None = None
        self.published: Outputs = []
        self.readers = {symbol: BookReader() for symbol in SYMBOLS}
        self.protocol: VenueProtocol = CoinbaseProtocol(VenueSettings(symbols=SYMBOLS))
        self.tasks: list[asyncio.Task[None]] = []
        self._stopped = 0
        self.pulse = Pulse(cast("Any", self), self)
        self.pulse.begin(cast("Any", self), self.pulse.seconds)

    # --- the collector ---

    def now(self) -> int:
        return START + self._stopped + round(asyncio.get_running_loop().time() * 1e9)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self.tasks.append(asyncio.get_running_loop().create_task(work))
        return self.tasks[-1]

    async def room(self) -> None:
        """Wait for the publisher; while it waits the test may do something."""
        self.roomed += 1
        while self.full:
            await asyncio.sleep(0.01)

    # --- the connection ---

    async def ask(self) -> bool | None:
        self.asked.append(self.now() - START)
        if self.textual:
            return None
        if self.alive:
            return True
        self.answer = asyncio.get_running_loop().create_future()
        return await self.answer

    # --- the line ---

    def act(self, outputs: Outputs) -> None:
        self.published += outputs
        for output in outputs:
            if isinstance(output, L2Update):
                self.readers[output.symbol].apply(output)

    def receive(self, *frames: bytes) -> None:
        for frame in frames:
            now = self.now()
            if now - self.pulse.heard > self.pulse.patience:
                self.pulse.check(now)
            self.pulse.heard = now
            outputs = self.protocol.receive(frame, now)
            if outputs:
                self.act(outputs)
            elif self.pulse.asked:
                self.pulse.answered()

    def stop_for(self, seconds: float) -> None:
        """Let time pass in which nothing runs."""
        self._stopped += round(seconds * SECOND)

    async def wait(self, seconds: float) -> None:
        """Tick every second, as the line does, a little early."""
        for _ in range(round(seconds)):
            await asyncio.sleep(0.999)
            self.pulse.tick()
            await asyncio.sleep(0.001)

    def kinds(self, symbol: str = "BTC-USD") -> list[str]:
        found = [output for output in self.published if isinstance(output, L2Update) and output.symbol == symbol]
        return [output.kind for output in found]

    def heard(self, symbol: str = "BTC-USD") -> list[float]:
        """Return the times of the heartbeats, seconds since the start."""
        beats = [one for one in self.published if isinstance(one, L2Update) and one.kind == "HEARTBEAT"]
        return [round((one.received_time - START) / SECOND, 3) for one in beats if one.symbol == symbol]

    def notes(self) -> list[tuple[str, str | None]]:
        return [(output.kind, output.loss) for output in self.published if isinstance(output, Note)]


def virtually(work: Coroutine[Any, Any, None]) -> None:
    run(work)


def test_a_quiet_book_is_confirmed_as_of_the_last_frame_of_its_connection() -> None:
    async def work() -> None:
        it = Collecting()
        it.receive(snapshot("BTC-USD"), snapshot("ETH-USD"))
        for number in range(20):
            await asyncio.sleep(0.25)
            it.receive(update("ETH-USD", f"{number % 9}.5"))
            if number % 4 == 3:
                it.pulse.tick()
        assert it.heard("BTC-USD") == [1.0, 2.0, 3.0, 4.0, 5.0]
        assert it.heard("ETH-USD") == []
        assert it.asked == []
        assert it.readers["BTC-USD"].received_time == START + 5 * SECOND
        assert it.readers["BTC-USD"].valid

    virtually(work())


def test_a_book_that_has_just_changed_is_not_confirmed() -> None:
    async def work() -> None:
        it = Collecting()
        it.receive(snapshot("BTC-USD"), snapshot("ETH-USD"))
        await asyncio.sleep(0.7)
        it.receive(update("BTC-USD"))
        await asyncio.sleep(0.2)
        it.receive(update("ETH-USD"))
        await asyncio.sleep(0.1)
        it.pulse.tick()
        assert it.heard() == []
        await asyncio.sleep(0.95)
        it.receive(update("ETH-USD", "8.5"))
        it.pulse.tick()
        assert it.heard() == [1.95]

    virtually(work())


def test_a_silent_venue_is_asked_and_its_answer_stands_for_when_it_was_asked() -> None:
    async def work() -> None:
        it = Collecting()
        it.receive(snapshot("BTC-USD"))
        for _ in range(3):
            await it.wait(1)
            assert it.answer is not None
            await asyncio.sleep(0.1)
            it.answer.set_result(True)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert [round(asked / SECOND, 3) for asked in it.asked] == [0.999, 2.099, 3.199]
        # At once, not with the next tick.
        assert it.heard() == [0.999, 2.099, 3.199]
        assert it.heard("ETH-USD") == [], "it has no book"

    virtually(work())


def test_a_venue_that_answers_with_a_frame_is_heard_by_that() -> None:
    async def work() -> None:
        it = Collecting()
        it.receive(snapshot("BTC-USD"))
        await it.wait(1)
        assert it.answer is not None
        it.answer.set_result(False)
        await asyncio.sleep(0.05)
        assert it.heard() == []
        it.receive(b'{"type":"heartbeat","product_id":"BTC-USD","sequence":1,"last_trade_id":1,"time":""}')
        assert it.heard() == [1.05]
        it.receive(b'{"type":"heartbeat","product_id":"BTC-USD","sequence":1,"last_trade_id":1,"time":""}')
        assert it.heard() == [1.05]

    virtually(work())


def test_where_nobody_answers_nothing_is_confirmed_and_the_venue_is_asked_again() -> None:
    async def work() -> None:
        it = Collecting()
        it.receive(snapshot("BTC-USD"))
        await it.wait(12)
        assert it.heard() == []
        gaps = [round((late - early) / SECOND) for early, late in zip(it.asked, it.asked[1:], strict=False)]
        assert gaps == [round(ANSWER_SECONDS)] * 2

    virtually(work())


def test_without_a_book_nobody_is_asked() -> None:
    async def work() -> None:
        it = Collecting()
        await it.wait(5)
        assert it.asked == []

    virtually(work())


def test_at_the_publishers_bound_nothing_is_added() -> None:
    async def work() -> None:
        it = Collecting()
        it.receive(snapshot("BTC-USD"), snapshot("ETH-USD"))
        await asyncio.sleep(0.999)
        it.receive(update("ETH-USD"))
        it.full = True
        it.pulse.tick()
        assert it.kinds() == ["SNAPSHOT"]

    virtually(work())


def stood_still(it: Collecting) -> None:
    assert it.kinds() == it.kinds("ETH-USD") == ["SNAPSHOT", "INVALID"]
    assert it.notes() == [("late", "late")]
    note = next(output for output in it.published if isinstance(output, Note))
    assert (
        note.message == "the collector was not running for 8.0 s; books are withheld until the collector has caught up"
    )
    assert note.details == {"ended": "2"}


async def late(**freshness: int) -> Collecting:
    """Return a collector that has just stood still for 8 s, its books valid before; 500 bytes wait; pings succeed."""
    it = Collecting(**freshness)
    it.alive = True
    it.receive(snapshot("BTC-USD"), snapshot("ETH-USD"))
    it.stop_for(8.0)
    it.waiting = 500
    return it


def test_after_a_standstill_the_first_frame_ends_the_books_before_it_is_taken() -> None:
    async def work() -> None:
        it = await late()
        it.receive(update("BTC-USD", "9.5"))
        stood_still(it)
        it.receive(update("BTC-USD", "9.75"), update("ETH-USD"))
        it.pulse.tick()
        await asyncio.sleep(0.5)
        assert it.kinds() == ["SNAPSHOT", "INVALID"], "what waits is not older than that"
        it.waiting = 0
        it.receive(update("BTC-USD", "9.80"))
        await asyncio.sleep(2.0)
        assert it.kinds() == it.kinds("ETH-USD") == ["SNAPSHOT", "INVALID", "SNAPSHOT"]
        assert it.notes() == [("late", "late"), ("caught_up", None)]
        reader = it.readers["BTC-USD"]
        assert [price for price, _ in reader.book.bids] == [1_000_000_000, 980_000_000, 975_000_000, 950_000_000]
        it.receive(update("BTC-USD", "9.85"))
        assert it.kinds()[-1] == "DELTA"

    virtually(work())


def test_books_begin_again_one_after_the_other_as_the_publisher_takes_them() -> None:
    async def work() -> None:
        it = await late()
        it.receive(update("BTC-USD", "9.5"))
        it.waiting, it.full = 0, True
        await asyncio.sleep(2.0)
        assert (it.kinds()[-1], it.kinds("ETH-USD")[-1]) == ("SNAPSHOT", "INVALID")
        # What comes meanwhile is published of the one and kept of the other.
        it.receive(update("BTC-USD", "9.6"), update("ETH-USD", "9.6"))
        assert (it.kinds()[-1], it.kinds("ETH-USD")[-1]) == ("DELTA", "INVALID")
        # Late again before the second one had its turn.
        it.stop_for(8.0)
        it.waiting = 500
        it.receive(update("BTC-USD", "9.7"))
        it.full = False
        await asyncio.sleep(0.05)
        assert it.kinds("ETH-USD") == ["SNAPSHOT", "INVALID"]
        it.waiting = 0
        await asyncio.sleep(2.0)
        assert it.kinds() == ["SNAPSHOT", "INVALID", "SNAPSHOT", "DELTA", "INVALID", "SNAPSHOT"]
        assert it.kinds("ETH-USD") == ["SNAPSHOT", "INVALID", "SNAPSHOT"]
        assert len(it.readers["ETH-USD"].book.bids) == 2
        assert it.notes() == [("late", "late"), ("late", "late"), ("caught_up", None)]

    virtually(work())


def test_after_a_standstill_nothing_is_published_before_the_venue_has_answered() -> None:
    async def work() -> None:
        it = await late()
        it.alive = False
        it.receive(update("BTC-USD", "9.5"), update("ETH-USD", "9.5"))  # what waited in the socket
        it.waiting = 0
        await it.wait(30)
        assert it.kinds() == it.kinds("ETH-USD") == ["SNAPSHOT", "INVALID"], "the connection only seems to stand"
        asked, answer = it.now(), it.answer
        assert answer is not None
        it.alive = True
        answer.set_result(True)
        await it.wait(8)
        assert it.kinds()[:3] == ["SNAPSHOT", "INVALID", "SNAPSHOT"]
        resumed = [one for one in it.published if isinstance(one, L2Update) and one.kind == "SNAPSHOT"][-1]
        assert resumed.received_time >= asked

    virtually(work())


def test_a_frame_that_waited_is_no_answer() -> None:
    async def work() -> None:
        it = await late()
        it.textual = True
        it.receive(update("BTC-USD", "9.5"))
        it.waiting = 0
        for number in range(50):
            await asyncio.sleep(0.1)
            it.receive(update("BTC-USD", f"9.{number}"), heartbeat())
        assert it.kinds() == ["SNAPSHOT", "INVALID"]
        it.protocol.pongs += 1  # as the protocol counts an answer of the venue's own kind
        it.receive(heartbeat())
        await asyncio.sleep(0.05)
        assert it.kinds()[:3] == ["SNAPSHOT", "INVALID", "SNAPSHOT"]

    virtually(work())


def test_after_a_standstill_the_timer_may_come_first() -> None:
    async def work() -> None:
        it = await late()
        it.pulse.tick()
        stood_still(it)
        it.receive(update("BTC-USD", "9.5"))
        assert it.kinds() == ["SNAPSHOT", "INVALID"]

    virtually(work())


def test_a_standstill_in_which_nothing_came_is_none() -> None:
    async def work() -> None:
        it = await late()
        it.waiting = 0
        it.pulse.tick()
        it.receive(update("BTC-USD", "9.5"))
        assert it.kinds() == ["SNAPSHOT", "DELTA"]

    virtually(work())


def test_a_quiet_venue_is_no_standstill() -> None:
    async def work() -> None:
        it = Collecting()
        it.receive(snapshot("BTC-USD"))
        await it.wait(30)
        it.waiting = 100
        it.receive(update("BTC-USD"))
        assert it.kinds() == ["SNAPSHOT", "DELTA"]

    virtually(work())


def test_frames_that_wait_and_are_old_by_the_venues_clock_end_the_books() -> None:
    def time_of(nanoseconds: int) -> str:
        whole, rest = divmod(nanoseconds, SECOND)
        return f"2026-09-21T14:{13 + whole // 60:02}:{20 + whole % 60:02}.{rest // 1000:06}Z"

    async def work() -> None:
        it = Collecting()
        it.receive(snapshot("BTC-USD"))
        it.receive(update("BTC-USD", "9.1", time_of(0)))
        await it.wait(1)
        it.receive(update("BTC-USD", "9.2", time_of(SECOND)))
        it.waiting = 100_000
        await it.wait(1)
        assert it.kinds()[-1] != "INVALID"
        await asyncio.sleep(2.5)
        it.receive(update("BTC-USD", "9.3", time_of(2 * SECOND)))
        it.pulse.tick()
        assert it.kinds()[-1] == "INVALID"
        assert it.notes() == [("late", "late")]
        it.waiting, it.alive = 0, True
        it.receive(update("BTC-USD", "9.4", time_of(round(4.5 * SECOND))))
        await asyncio.sleep(0.15)
        assert it.kinds()[-1] == "SNAPSHOT"

    virtually(work())


@pytest.mark.parametrize("limit", [0, 60_000])
def test_what_counts_as_late_is_configured(limit: int) -> None:
    async def work() -> None:
        it = await late(max_feed_delay_ms=limit)
        it.receive(update("BTC-USD", "9.5"))
        it.pulse.tick()
        assert it.kinds() == ["SNAPSHOT", "DELTA"]

    virtually(work())


def test_a_socket_left_alone_for_long_because_of_the_broker_is_read_late() -> None:
    async def work() -> None:
        it = Collecting()
        it.receive(snapshot("BTC-USD"))
        it.pulse.held_back(2_000 * MS)
        assert it.kinds() == ["SNAPSHOT"]
        it.pulse.held_back(2_001 * MS)
        assert it.kinds() == ["SNAPSHOT", "INVALID"]

    virtually(work())


def test_the_end_of_the_connection_ends_the_lateness() -> None:
    async def work() -> None:
        it = await late()
        it.receive(update("BTC-USD", "9.5"))
        it.act(it.protocol.disconnected(it.now()))
        it.pulse.end()
        await asyncio.sleep(1)
        assert all(task.done() for task in it.tasks)
        it.pulse.begin(cast("Any", it), 1.0)
        it.receive(snapshot("BTC-USD"))
        assert it.kinds() == ["SNAPSHOT", "INVALID", "SNAPSHOT"]
        assert it.notes() == [("late", "late")]

    virtually(work())


def test_a_symbol_taken_up_meanwhile_is_withheld_too() -> None:
    async def work() -> None:
        it = Collecting()
        it.alive = True
        it.protocol.remove("ETH-USD", it.now())
        it.receive(snapshot("BTC-USD"))
        it.stop_for(8.0)
        it.waiting = 500
        it.receive(update("BTC-USD", "9.5"))
        it.protocol.add(["ETH-USD"])
        it.receive(snapshot("ETH-USD"))
        assert it.kinds("ETH-USD") == []
        it.waiting = 0
        await asyncio.sleep(2.0)
        assert it.kinds("ETH-USD") == ["SNAPSHOT"]

    virtually(work())
