"""Fault injection between a simulated venue's encoder and its socket. Pure and seeded.

A fault is due at a frame or at a time; with a symbol it waits for that symbol's next frame. Faults come from a script,
from a probability per frame, or both.
"""

from __future__ import annotations

import heapq
import math
import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, NamedTuple

from msgspec.structs import replace

from producers.simulator.instrument import NOTHING_SHOWN, Shown
from producers.simulator.scripts import Fault, random_fault
from producers.venue_server.session import TRADES

_ON_FRAMES: Final = frozenset(
    {"drop", "drop_trades", "duplicate", "reorder", "corrupt", "checksum", "disconnect", "cut_snapshot"}
)
_REFUSALS: Final = frozenset({"refuse", "refuse_trades", "rate"})
_CHECKSUM: Final = re.compile(rb'"checksum":\s*(-?\d+)')
_NEVER: Final = 2**63
_SECOND_NS: Final = 1_000_000_000


class Sent(NamedTuple):
    """A frame as it is sent.

    Attributes:
        topic: its subscribers receive it; passed through unchanged.
        number: the frame's number at the venue, from 1.
        frame: its bytes.
        damage: what was done to them; empty for nothing.
        end: ``close``: the connection ends instead of this frame; ``cut``: in the middle of it.
    """

    topic: Any
    number: int
    frame: bytes
    damage: Literal["", "corrupt", "checksum"] = ""
    end: Literal["", "close", "cut"] = ""


class RestFault(NamedTuple):
    """Fault of a REST request: a status other than 200, and the delay of the answer."""

    status: int
    seconds: float
    retry_after: int


class VenueFaults:
    """Fault injector of one venue.

    Args:
        venue: the venue; faults that name another one are ignored.
        script: the faults.
        probability: of an additional fault per frame.
        seed: of those faults and of the corruption of frames.
        start_ns: origin of the faults' times.

    Attributes:
        number: of the last frame.
        skew_ns: how far the venue's clock is ahead.
        happened: number of faults that took effect, by kind.
    """

    def __init__(
        self,
        venue: str = "",
        script: Iterable[Fault] = (),
        *,
        probability: float = 0.0,
        seed: int = 0,
        start_ns: int = 0,
    ) -> None:
        self.venue = venue
        self.number = 0
        self.skew_ns = 0
        self.happened: Counter[str] = Counter()
        self._random = random.Random(f"{seed}/{venue}/faults")  # noqa: S311 a simulation
        self._probability = probability
        mine = [fault for fault in script if fault.venue in (None, venue)]
        self._by_frame = [(fault.frame, order, fault) for order, fault in enumerate(mine) if fault.frame is not None]
        self._by_time = [
            (start_ns + round((fault.at or 0.0) * 1e9), order, fault)
            for order, fault in enumerate(mine)
            if fault.frame is None
        ]
        heapq.heapify(self._by_frame)
        heapq.heapify(self._by_time)
        self._next_chance = self._draw(0)
        self._armed: list[Fault] = []
        self._held: list[tuple[int, int, Sent]] = []  # (frames still to be sent before it, order, frame)
        self._stalled: list[Sent] = []
        self._stalled_until = self._muted_until = self._hollow_until = self._lifeless_until = -_NEVER
        self._shown: list[tuple[int, str | None, Shown]] = []  # (its end, symbol, what)
        self._dropping = 0
        self._rest: list[Fault] = []
        self._rest_left = 0
        self._refusals: Counter[str] = Counter()
        self._to_forget: list[Fault] = []  # of a symbol, at its next subscription
        self._unknown: dict[str, int] = {}  # until when
        self._quiet_before = -1  # frames up to this number pass unchanged, until _quiet_until_ns
        self._quiet_until_ns = -_NEVER

    def passes(self, now_ns: int) -> bool:
        """Whether the next frame is not affected. If so it counts as sent; otherwise call :meth:`frame`."""
        if self.number + 1 < self._quiet_before and now_ns < self._quiet_until_ns:
            self.number += 1
            return True
        return False

    def frame(self, topic: Any, symbol: str, frame: bytes, now_ns: int, *, snapshot: bool = False) -> Sequence[Sent]:
        """Return what is sent for ``frame``: nothing, the frame, a changed one, or several."""
        self.number += 1
        if self.number < self._quiet_before and now_ns < self._quiet_until_ns:
            return (Sent(topic, self.number, frame),)
        self._arm(now_ns)
        sent = self._befall(Sent(topic, self.number, frame), symbol, snapshot)
        out = self._overtake(sent)
        if now_ns < max(self._muted_until, self._hollow_until):
            out = []
        elif now_ns < self._stalled_until:
            self._stalled += out
            out = []
        elif self._stalled:
            out, self._stalled = self._stalled + out, []
        self._rest_a_while(now_ns)
        return out

    def answer(self, topic: Any, frame: bytes, now_ns: int) -> Sequence[Sent]:
        """Return what is sent for ``frame``, an answer to a client: the frame, unless the venue is silent."""
        if self.silent(now_ns):
            return ()
        sent = Sent(topic, 0, frame)
        if now_ns < self._stalled_until or self._stalled:
            self._stalled.append(sent)
            self._quiet_before = -1
            return ()
        return (sent,)

    def life(self, topic: Any, frame: bytes, now_ns: int) -> Sequence[Sent]:
        """Return what is sent for ``frame``, which only proves that the venue is alive."""
        silent = self.silent(now_ns)
        return () if silent or now_ns < self._lifeless_until else self.answer(topic, frame, now_ns)

    def shown(self, symbol: str, now_ns: int) -> frozenset[Shown]:
        """Return which additional orders a symbol's book currently shows."""
        if not self._shown:
            return NOTHING_SHOWN
        self._shown = [(end, whose, what) for end, whose, what in self._shown if now_ns < end]
        return frozenset(what for _, whose, what in self._shown if whose in (None, symbol))

    @property
    def holding(self) -> bool:
        """Whether a stall holds frames back."""
        return bool(self._stalled)

    def due(self, now_ns: int) -> Sequence[Sent]:
        """Return the frames held back by a stall that has ended."""
        if not self._stalled or now_ns < self._stalled_until:
            return ()
        out, self._stalled = self._stalled, []
        return out

    def silent(self, now_ns: int) -> bool:
        """Whether the venue sends nothing at all, heartbeats and answers included."""
        if self._by_time and self._by_time[0][0] <= now_ns:
            self._arm(now_ns)
        return now_ns < self._muted_until

    def stalls(self, now_ns: int) -> bool:
        """Whether everything is held back, so that pings are not answered either; a mute venue does answer them."""
        if self._by_time and self._by_time[0][0] <= now_ns:
            self._arm(now_ns)
        return now_ns < self._stalled_until

    def connected(self) -> None:
        """Handle a new connection: it is neither stalled nor mute."""
        self._muted_until = self._stalled_until = self._hollow_until = -_NEVER

    def disconnected(self) -> None:
        """Handle a closed connection: frames in flight to it are lost."""
        self._held.clear()
        self._stalled.clear()

    def stop(self) -> None:
        """Stop injecting faults; frames held back are still sent."""
        self._by_frame.clear()
        self._by_time.clear()
        self._armed.clear()
        self._rest.clear()
        self._shown.clear()
        self._lifeless_until = -_NEVER
        self._next_chance = _NEVER
        self._dropping = self._rest_left = self.skew_ns = 0
        self._refusals.clear()
        self._unknown.clear()
        self._to_forget.clear()
        self.connected()

    def rest(self, now_ns: int) -> RestFault | None:
        """Return the fault of the REST request just received."""
        self._arm(now_ns)
        if not self._rest:
            return None
        fault = self._rest[0]
        self._rest_left -= 1
        if not self._rest_left:
            self._rest.pop(0)
            self._rest_left = self._rest[0].count if self._rest else 0
        self.happened[fault.kind] += 1
        seconds = abs(fault.seconds)
        if fault.kind == "rest_slow":
            return RestFault(200, seconds, 0)
        return RestFault(int(fault.kind.removeprefix("rest_")), 0.0, math.ceil(seconds))

    def refuses(self, now_ns: int, feed: str = "") -> bool:
        """Whether the subscription to ``feed`` just requested is refused."""
        return self._refuses("refuse", now_ns) or (feed == TRADES and self._refuses("refuse_trades", now_ns))

    def rations(self, now_ns: int) -> bool:
        """Whether the message just received is answered as exceeding the rate limit."""
        return self._refuses("rate", now_ns)

    def misses(self, symbol: str, now_ns: int) -> bool:
        """Whether the venue currently does not know ``symbol``."""
        self._arm(now_ns)
        for fault in self._to_forget:
            if symbol and fault.symbol in (None, symbol):
                self._to_forget.remove(fault)
                self._unknown[symbol] = now_ns + round(abs(fault.seconds) * _SECOND_NS)
                self.happened[fault.kind] += 1
                break
        return now_ns < self._unknown.get(symbol, -_NEVER)

    def _refuses(self, kind: str, now_ns: int) -> bool:
        self._arm(now_ns)
        if not self._refusals[kind]:
            return False
        self._refusals[kind] -= 1
        self.happened[kind] += 1
        return True

    def _draw(self, after: int) -> int:
        """Return the number of the next frame with a random fault."""
        if self._probability <= 0.0:
            return _NEVER
        if self._probability >= 1.0:
            return after + 1
        return after + 1 + int(math.log(1.0 - self._random.random()) / math.log(1.0 - self._probability))

    def _arm(self, now_ns: int) -> None:
        """Arm the faults that are due."""
        while self._by_frame and self._by_frame[0][0] <= self.number:
            self._begin(heapq.heappop(self._by_frame)[2], now_ns)
        while self._by_time and self._by_time[0][0] <= now_ns:
            self._begin(heapq.heappop(self._by_time)[2], now_ns)
        if self.number >= self._next_chance:
            self._begin(random_fault(self._random, self.number), now_ns)
            self._next_chance = self._draw(self.number)

    def _begin(self, fault: Fault, now_ns: int) -> None:
        """Start one fault."""
        self._quiet_before = -1
        lasting = round(abs(fault.seconds) * _SECOND_NS)
        if fault.kind in _ON_FRAMES:
            self._armed.append(fault)
        elif fault.kind.startswith("rest_"):
            self._rest.append(fault)
            self._rest_left = self._rest_left or fault.count
        elif fault.kind == "unknown":
            self._to_forget.append(fault)
        elif fault.kind in _REFUSALS:
            self._refusals[fault.kind] += fault.count
        else:
            self.happened[fault.kind] += 1
            if fault.kind == "skew":
                self.skew_ns = round(fault.seconds * _SECOND_NS)
            elif fault.kind == "auction" or fault.kind == "huge":
                self._shown.append((now_ns + lasting, fault.symbol, fault.kind))
            elif fault.kind == "stall":
                self._stalled_until = max(self._stalled_until, now_ns + lasting)
            elif fault.kind == "no_heartbeats":
                self._lifeless_until = max(self._lifeless_until, now_ns + lasting)
            elif fault.kind == "only_heartbeats":
                self._hollow_until = max(self._hollow_until, now_ns + lasting)
            else:
                self._muted_until = max(self._muted_until, now_ns + lasting)

    def _befall(self, sent: Sent, symbol: str, snapshot: bool) -> list[Sent]:
        """Apply the armed faults that fit to one frame."""
        if self._dropping:
            self._dropping -= 1
            return []
        frames = [sent]
        for fault in list(self._armed):
            if fault.symbol not in (None, symbol) or not _fits(fault, sent, snapshot=snapshot):
                continue
            self._armed.remove(fault)
            self.happened[fault.kind] += 1
            match fault.kind:
                case "drop_trades":
                    if fault.count > 1:
                        self._armed.append(replace(fault, count=fault.count - 1))
                    return []
                case "drop":
                    self._dropping = fault.count - 1
                    return []
                case "duplicate":
                    frames = frames * (1 + fault.count)
                case "reorder":
                    self._held += [(fault.count, order, one) for order, one in enumerate(frames)]
                    return []
                case "corrupt":
                    damaged = frames[0]._replace(frame=self._corrupted(sent.frame), damage="corrupt")
                    frames = [damaged] * len(frames)
                case "checksum":
                    damaged = frames[0]._replace(frame=_CHECKSUM.sub(_other_checksum, frames[0].frame))
                    frames = [damaged._replace(damage=damaged.damage or "checksum")] * len(frames)
                case _:
                    self._held.clear()
                    return [sent._replace(end="cut" if fault.kind == "cut_snapshot" else "close")]
        return frames

    def _overtake(self, sent: list[Sent]) -> list[Sent]:
        """Append to ``sent`` the reordered frames that enough later frames have overtaken."""
        if not self._held or not sent:
            return sent
        passed = [(left - 1, order, one) for left, order, one in self._held]
        self._held = [waiting for waiting in passed if waiting[0] > 0]
        return sent + [one for left, _, one in passed if left <= 0]

    def _corrupted(self, frame: bytes) -> bytes:
        """Return ``frame`` as invalid JSON: truncated, or with control characters."""
        chance, size = self._random, len(frame)
        if chance.random() < 0.3:
            return frame[: chance.randrange(size)]
        start = chance.randrange(size)
        length = min(chance.randint(1, 24), size - start)
        return (
            frame[:start] + b"\x00\x01\x1f\xff"[:4] * (length // 4) + b"\x02" * (length % 4) + frame[start + length :]
        )

    def _rest_a_while(self, now_ns: int) -> None:
        """Compute up to when frames pass without a check."""
        busy = self._armed or self._held or self._stalled or self._dropping
        if busy or now_ns < max(self._stalled_until, self._muted_until, self._hollow_until):
            self._quiet_before = -1
            return
        self._quiet_before = min(self._next_chance, self._by_frame[0][0] if self._by_frame else _NEVER)
        self._quiet_until_ns = self._by_time[0][0] if self._by_time else _NEVER


def _fits(fault: Fault, sent: Sent, *, snapshot: bool) -> bool:
    """Whether ``fault`` applies to a frame of this kind."""
    match fault.kind:
        case "cut_snapshot":
            return snapshot
        case "checksum":
            return _CHECKSUM.search(sent.frame) is not None
        case "drop_trades":
            return bool(sent.topic[:1] == (TRADES,))
    return True


def _other_checksum(match: re.Match[bytes]) -> bytes:
    return b'"checksum":%d' % ((int(match[1]) + 1) % 2**32)
