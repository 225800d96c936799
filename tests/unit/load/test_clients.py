from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from websockets.sync.server import ServerConnection, serve

from tests.load.clients import Clients, Counts, Target
from tests.load.figures import summary

SECONDS = 20.0


@contextmanager
def served(texts: list[str], *, heard: list[str] | None = None, close: bool = False) -> Iterator[Target]:
    """Serve ``texts`` to each client once it has said something; ``heard`` collects what clients say later."""

    def handler(connection: ServerConnection) -> None:
        assert json.loads(connection.recv()) == {"op": "subscribe"}
        for each in texts:
            connection.send(each)
        if close:
            return
        for text in connection:
            if heard is not None:
                heard.append(str(text))

    # A client here never answers that it closes too: the server waits so long for that.
    with serve(handler, "127.0.0.1", 0, compression=None, close_timeout=0.2) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield Target("127.0.0.1", server.socket.getsockname()[1], "/", pings=b"{}")
        server.shutdown()
        thread.join()


def read(clients: Clients, enough: int) -> Counts:
    end = time.monotonic() + SECONDS
    clients.read(lambda: clients.counts.messages >= enough or time.monotonic() > end)
    return clients.reset()


def test_messages_are_counted_whatever_the_frames_lengths_and_where_the_bytes_are_cut() -> None:
    texts = ["a" * length for length in (0, 1, 125, 126, 65_535, 65_536, 900_000)] + ["one\ntwo\nthree"]
    with served(texts) as target, Clients(target) as clients:
        clients.open([['{"op":"subscribe"}']] * 3)
        counts = read(clients, 3 * 10)
    assert (counts.frames, counts.size) == (3 * 8, 3 * sum(map(len, texts)))
    assert counts.messages == 3 * 10
    assert clients.counts == Counts()


def test_ages_come_from_the_messages_time() -> None:
    with (
        served([f'{{"time":{time.time_ns() // 1000 - 5_000_000}}}\n{{"time":{time.time_ns() // 1000}}}']) as target,
        Clients(target, sample=1) as clients,
    ):
        clients.open([['{"op":"subscribe"}']])
        counts = read(clients, 2)
    old, fresh = counts.ages
    assert 5_000 <= old < 5_000 + SECONDS * 1000
    assert 0 <= fresh == pytest.approx(old - 5_000, abs=100)
    assert "2 messages/s" in summary(counts, 1.0)


def test_a_ping_of_the_server_is_answered_and_not_counted() -> None:
    heard: list[str] = []
    with served(["{}", "x"], heard=heard) as target, Clients(target) as clients:
        clients.open([['{"op":"subscribe"}']])
        assert read(clients, 1).messages == 1
        end = time.monotonic() + SECONDS
        clients.read(lambda: bool(heard) or time.monotonic() > end)
        assert heard == ["{}"]


def test_a_connection_that_the_server_closes_is_told() -> None:
    with served(["x"], close=True) as target, Clients(target) as clients:
        clients.open([['{"op":"subscribe"}']])
        end = time.monotonic() + SECONDS
        clients.read(lambda: clients.counts.closed > 0 or time.monotonic() > end)
        assert (clients.counts.messages, clients.counts.closed) == (1, 1)
        assert "1 closed" in summary(clients.reset(), 1.0)


def test_a_refused_handshake_is_told() -> None:
    with served([]) as target, pytest.raises(OSError, match="400"):
        Clients(Target(target.host, target.port, "/", headers="Sec-WebSocket-Protocol: \r\n")).open([[]])
