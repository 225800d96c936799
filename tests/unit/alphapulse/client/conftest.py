"""A session with its gateway in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from alphapulse.client.events import Delivered, Event
from alphapulse.client.messages import FeedMessage
from alphapulse.client.session import Session
from alphapulse.client.subscriptions import Request
from alphapulse.client.wire import Encoding
from tests.fixtures.stream_gateway import FakeGateway, ReferenceMarket

BOOK = Request("book", ("kraken",), ("BTC-USD",), {"checksum": True})


@dataclass
class Pair:
    """A session connected to a fake gateway; ``events`` are all so far."""

    encoding: Encoding = "json"
    access: str = "open"
    now: float = 1000.0
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.market = ReferenceMarket(7)
        self.gateway = FakeGateway(self.market, self.encoding, access=self.access)
        self.session = Session(encoding=self.encoding, clock=lambda: self.now)

    def connect(self, **hello: Any) -> None:
        self.session.opened(self.now)
        self.gateway.hello(**hello)
        self.exchange()

    def disconnect(self, code: int = 1006) -> None:
        self.gateway.sent.clear()
        self.gateway.subscribed = False
        _, events = self.session.closed(code)
        self.events += events

    def exchange(self, together: int = 1) -> None:
        """Carry messages both ways until nobody has anything to say."""
        while True:
            for data in self.session.data_to_send():
                self.gateway.take(data)
            frames = list(self.gateway.frames(together))
            if not frames:
                return
            for frame in frames:
                self.events += self.session.receive(frame)

    def say(self, **fields: Any) -> None:
        self.gateway.sent.append(fields)
        self.exchange()

    def move(self, times: int = 1) -> None:
        for _ in range(times):
            self.market.move()
            self.gateway.moved()
        self.exchange()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.gateway.now += round(seconds * 1e6)
        self.events += self.session.tick()
        self.exchange()

    @property
    def messages(self) -> list[FeedMessage]:
        return [event.message for event in self.events if isinstance(event, Delivered)]


@pytest.fixture(params=["json", "msgpack"])
def pair(request: pytest.FixtureRequest) -> Pair:
    return Pair(request.param)
