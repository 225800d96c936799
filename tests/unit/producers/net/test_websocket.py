"""Messages cut out of a socket's bytes, compared with what ``websockets`` itself reads in them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
from websockets.frames import DATA_OPCODES, Close, CloseCode, Frame, Opcode
from websockets.protocol import Event, State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from producers.net.websocket import READ_AHEAD_BYTES, TURN_FRAMES, FrameSocket, frame_span

LARGEST = 70_000
CLOSE = Frame(Opcode.CLOSE, Close(CloseCode.GOING_AWAY, "").serialize())


class Wire(asyncio.Transport):
    """The transport, as the test sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.reading = True
        self.closed = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def write(self, data: Any) -> None:
        self.sent += data

    def writelines(self, data: Any) -> None:
        for part in data:
            self.write(part)

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed


class Watched(FrameSocket):
    """Keeps the library's frames that are no messages."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.others: list[Frame] = []

    def process_event(self, event: Event) -> None:
        if isinstance(event, Frame) and event.opcode not in DATA_OPCODES:
            self.others.append(event)
        super().process_event(event)


def shaken() -> tuple[ClientProtocol, bytes]:
    """Return a client that has asked for a connection, and the answer."""
    protocol = ClientProtocol(parse_uri("ws://venue/"), max_size=LARGEST)
    request = protocol.connect()
    protocol.send_request(request)
    protocol.data_to_send()
    return protocol, ServerProtocol().accept(request).serialize()


def opened() -> tuple[Watched, Wire]:
    """Return a socket behind its handshake."""
    protocol, answer = shaken()
    socket, wire = Watched(protocol, ping_interval=None), Wire()
    socket.connection_made(wire)
    socket.data_received(answer)
    assert socket.protocol.state is State.OPEN
    return socket, wire


class Taker:
    """Keeps what it is handed; says whether more may come."""

    def __init__(self, taken: list[bytes], *, more: bool = True) -> None:
        self.taken = taken
        self.more = more

    def __call__(self, message: bytes) -> bool:
        self.taken.append(message)
        return self.more


def written(frames: Sequence[Frame]) -> bytes:
    return b"".join(frame.serialize(mask=False) for frame in frames)


def by_the_library(data: bytes) -> tuple[list[bytes], list[Frame], State]:
    """Return what the library reads: messages, other frames, and in which state it ends."""
    protocol, answer = shaken()
    protocol.receive_data(answer + data)
    messages, others, parts = [], [], b""
    for event in protocol.events_received()[1:]:
        assert isinstance(event, Frame)
        if event.opcode not in DATA_OPCODES:
            others.append(event)
            continue
        parts += event.data
        if event.fin:
            messages.append(parts)
            parts = b""
    return messages, others, protocol.state


async def settled() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


payloads = st.binary(max_size=30) | st.integers(120, 135).map(bytes) | st.integers(65_530, LARGEST).map(bytes)
plain = st.builds(Frame, st.sampled_from([Opcode.TEXT, Opcode.BINARY]), payloads).map(lambda frame: [frame])
control = st.builds(Frame, st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=125)).map(lambda f: [f])


@st.composite
def fragmented(draw: st.DrawFn) -> list[Frame]:
    """Return a message in several frames, control frames in between."""
    parts = draw(st.lists(st.binary(max_size=200), min_size=2, max_size=4))
    frames: list[Frame] = []
    for number, part in enumerate(parts):
        frames.append(Frame(Opcode.CONT if number else Opcode.TEXT, part, fin=number == len(parts) - 1))
        if draw(st.booleans()):
            frames.append(Frame(Opcode.PING, b"?"))
    return frames


lawful = st.lists(plain | plain | control | fragmented(), max_size=50).map(
    lambda lists: list(chain.from_iterable(lists))
)
broken = st.sampled_from(
    [
        b"\x81\x85abcdefghi",  # masked
        b"\xc1\x01a",  # reserved bit
        b"\x83\x00",  # no such opcode
        b"\x80\x01a",  # goes on with nothing
        b"\x09\x00",  # a ping in fragments
        b"\x89\x7e\x00\x80" + bytes(128),  # a long ping
        b"\x82\x7f" + (LARGEST + 1).to_bytes(8, "big"),  # too long, and never whole
        b"\x01\x01a\x81\x01b",  # a message within another
        CLOSE.serialize(mask=False),
    ]
)


async def feed(
    socket: FrameSocket, wire: Wire, stream: bytes, receive: Callable[[bytes], bool], data: st.DataObject
) -> None:
    """Let ``stream`` come in pieces; ``receive`` is there after some of them."""
    at, early = 0, data.draw(st.integers(0, 3), "pieces before listen()")
    sizes = [1, 2, 3, 7, 50, 1000] if len(stream) < 3000 else [1000, 5000, 65_536, 300_000]
    while at < len(stream) and not wire.closed:
        if early == 0 or (early > 0 and not wire.reading):
            socket.listen(receive)
            early = 0
        if wire.reading:
            early -= 1
            size = data.draw(st.sampled_from(sizes), "bytes")
            socket.data_received(stream[at : at + size])
            at += size
        await asyncio.sleep(0)
    if early >= 0:
        socket.listen(receive)


@given(frames=lawful, end=st.just(b"") | broken, more=st.just(b"") | st.just(b"\x81\x01x"), data=st.data())
async def test_it_reads_what_the_library_reads_however_the_bytes_come(
    frames: list[Frame], end: bytes, more: bytes, data: st.DataObject
) -> None:
    stream = written(frames) + end + more
    wanted, others, state = by_the_library(stream)
    socket, wire = opened()
    seen: list[bytes] = []
    told = socket.others

    def receive(message: bytes) -> bool:
        seen.append(message)
        return data.draw(st.integers(0, 9), "hold at 0") > 0

    async def consume() -> None:
        while True:
            await socket.halted()
            await asyncio.sleep(0)
            socket.go_on()

    consuming = asyncio.create_task(consume())
    try:
        async with asyncio.timeout(10):
            await feed(socket, wire, stream, receive, data)
            while len(seen) < len(wanted) or len(told) < len(others):
                await asyncio.sleep(0)
        await settled()
        assert seen == wanted
        assert [(frame.opcode, frame.data) for frame in told] == [(frame.opcode, frame.data) for frame in others]
        assert socket.protocol.state is state
        assert socket.messages == len(wanted)
        socket.connection_lost(None)
        with pytest.raises(ConnectionClosed):
            await consuming
    finally:
        consuming.cancel()


def test_the_span_of_a_frame_is_told_as_soon_as_its_header_is_there() -> None:
    for length in (0, 1, 125, 126, 65_535, 65_536):
        data = Frame(Opcode.BINARY, bytes(length)).serialize(mask=False)
        header = len(data) - length
        assert frame_span(b"xx" + data, 2) == (2 + header, 2 + len(data))
        assert frame_span(data[:header], 0) == (header, len(data))
        for cut in range(header):
            begin, end = frame_span(data[:cut], 0)
            assert cut < begin <= end


async def test_a_receiver_that_takes_no_more_holds_the_venue_back() -> None:
    socket, wire = opened()
    taken: list[bytes] = []
    socket.listen(Taker(taken, more=False))
    frame = written([Frame(Opcode.TEXT, bytes(1000))])
    for _ in range(READ_AHEAD_BYTES // len(frame) + 2):
        if wire.reading:
            socket.data_received(frame)
    await settled()
    assert len(taken) == 1
    assert not wire.reading
    await socket.halted()
    for _ in range(READ_AHEAD_BYTES // len(frame)):
        socket.go_on()
    assert wire.reading


async def test_other_work_has_its_turn_while_frames_are_handed_over() -> None:
    socket, _ = opened()
    taken: list[bytes] = []
    socket.data_received(written([Frame(Opcode.TEXT, b"x")] * (TURN_FRAMES * 3)))
    socket.listen(Taker(taken))
    turns = []
    while len(taken) < TURN_FRAMES * 3:
        turns.append(len(taken))
        await asyncio.sleep(0)
    assert turns == [TURN_FRAMES, TURN_FRAMES * 2]


async def test_a_receiver_that_ends_the_connection_is_handed_nothing_more() -> None:
    socket, _ = opened()
    taken: list[bytes] = []

    def receive(message: bytes) -> bool:
        taken.append(message)
        socket.discard()
        return False

    stream = written([Frame(Opcode.TEXT, b"x")] * 3 + [Frame(Opcode.PING, b"?")])
    socket.data_received(stream)
    socket.listen(receive)
    socket.data_received(stream)
    assert taken == [b"x"]
    assert [frame.opcode for frame in socket.others] == [Opcode.PING] * 2


async def test_what_came_before_the_end_is_handed_over_before_the_end() -> None:
    socket, _ = opened()
    taken: list[bytes] = []
    socket.listen(Taker(taken, more=False))
    socket.data_received(written([Frame(Opcode.TEXT, b"%d" % n) for n in range(3)] + [CLOSE]))
    socket.eof_received()
    socket.connection_lost(None)
    for number in range(3):
        await socket.halted()
        assert taken == [b"%d" % n for n in range(number + 1)]
        socket.go_on()
    with pytest.raises(ConnectionClosedOK) as told:
        await socket.halted()
    assert told.value.rcvd == Close(CloseCode.GOING_AWAY, "")


async def test_closing_while_half_a_frame_is_there_it_still_hears_the_other_side_close() -> None:
    socket, _ = opened()
    socket.listen(Taker([]))
    frame = written([Frame(Opcode.TEXT, bytes(500))])
    socket.data_received(frame[:100])
    socket.protocol.send_close(CloseCode.GOING_AWAY)  # as the library does when a ping is not answered
    socket.data_received(frame[100:] + written([CLOSE]))
    assert [other.opcode for other in socket.others] == [Opcode.CLOSE]


async def test_discarded_it_ends_at_once_and_hands_over_nothing() -> None:
    socket, wire = opened()
    taken: list[bytes] = []
    socket.listen(Taker(taken, more=False))
    stream = written([Frame(Opcode.TEXT, bytes(60_000))] * 6)
    socket.data_received(stream[:100_000])
    socket.data_received(stream[100_000:-7])
    held_back = wire.reading
    socket.discard()
    assert (held_back, wire.reading) == (False, True)
    socket.data_received(stream[-7:] + written([Frame(Opcode.TEXT, b"late")]))
    assert len(taken) == 1
    socket.connection_lost(OSError("gone"))
    with pytest.raises(ConnectionClosedError):
        await socket.halted()


@pytest.mark.parametrize(
    "frames", [[Frame(Opcode.TEXT, b"a")], [Frame(Opcode.TEXT, b"a", fin=False), Frame(Opcode.CONT, b"b")]]
)
async def test_an_error_of_the_receiver_reaches_who_waits(frames: list[Frame]) -> None:
    socket, _ = opened()

    def receive(message: bytes) -> bool:
        raise ValueError(message)

    socket.listen(receive)
    socket.data_received(written(frames) * 2)
    with pytest.raises(ValueError, match="a"):
        await socket.halted()
    assert socket.messages == 1


Handler = Callable[[ServerConnection], Any]


async def test_over_a_socket_frames_sent_with_the_handshake_are_not_lost() -> None:
    async def handler(peer: ServerConnection) -> None:
        for number in range(1000):
            await peer.send(f"{number}")
        await peer.ping()
        await peer.close(4000, "enough")

    taken: list[bytes] = []
    async with serve(handler, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        socket = await connect(f"ws://127.0.0.1:{port}", create_connection=FrameSocket, compression=None)
        assert isinstance(socket, FrameSocket)
        async with asyncio.timeout(10):
            while not socket._unread:
                await asyncio.sleep(0)
        socket.listen(Taker(taken))
        with pytest.raises(ConnectionClosedError, match=r"4000.*enough"):
            await socket.halted()
    assert taken == [b"%d" % number for number in range(1000)]


async def test_the_head_of_the_answer_may_come_in_pieces() -> None:
    answered = asyncio.Event()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass the venue's bytes on one by one."""
        there, venue = await asyncio.open_connection("127.0.0.1", port)
        venue.write(await reader.readuntil(b"\r\n\r\n"))
        async with asyncio.timeout(10):
            while data := await there.read(1):
                writer.write(data)
                await writer.drain()
        for end in (venue, writer):
            end.close()
            await end.wait_closed()
        answered.set()

    async def handler(peer: ServerConnection) -> None:
        await peer.send("first")
        peer.transport.close()

    taken: list[bytes] = []
    async with serve(handler, "127.0.0.1", 0) as server, await asyncio.start_server(relay, "127.0.0.1", 0) as slow:
        port = next(iter(server.sockets)).getsockname()[1]
        between = next(iter(slow.sockets)).getsockname()[1]
        socket = await connect(f"ws://127.0.0.1:{between}", create_connection=FrameSocket, compression=None)
        assert isinstance(socket, FrameSocket)
        socket.listen(Taker(taken))
        with pytest.raises(ConnectionClosedError):
            await socket.halted()
        await answered.wait()
    assert taken == [b"first"]


async def test_what_has_come_and_is_not_handed_over_is_told_the_kernels_part_included() -> None:
    message = b"x" * 1000
    go_on = asyncio.Event()

    async def talk(server: ServerConnection) -> None:
        await server.send(message)
        await go_on.wait()
        for _ in range(2 * READ_AHEAD_BYTES // len(message)):
            await server.send(message)
        await server.wait_closed()

    async with serve(talk, "127.0.0.1", 0, compression=None) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        socket = await connect(f"ws://127.0.0.1:{port}", create_connection=FrameSocket, compression=None)
        assert isinstance(socket, FrameSocket)
        taker = Taker([], more=False)
        socket.listen(taker)
        await socket.halted()
        assert (len(taker.taken), socket.waiting) == (1, 0)
        go_on.set()
        async with asyncio.timeout(10):
            while socket.waiting < 2 * READ_AHEAD_BYTES:  # more than is read ahead: the rest is the kernel's
                await asyncio.sleep(0)
        taker.more = True
        socket.go_on()
        async with asyncio.timeout(10):
            while socket.waiting:
                await asyncio.sleep(0)
        assert sum(map(len, taker.taken)) > 2 * READ_AHEAD_BYTES
        await socket.close()
        assert socket.waiting == 0
