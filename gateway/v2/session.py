"""Session of one client of protocol version 2: subscriptions, access, queue, timeouts.

Times are arguments (monotonic seconds), or come from the board's clock (nanoseconds since the Unix epoch).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from msgspec import UNSET, Struct

from alphapulse import metrics
from alphapulse.errors import RequestRefused
from gateway.access.errors import AccessRefused
from gateway.access.identity import Identity
from gateway.access.redaction import redacted
from gateway.close_codes import UNAUTHORIZED, CloseCode
from gateway.delivery import MAX_SUBSCRIPTIONS, STALL_SECONDS, Delivery
from gateway.protocol import microseconds
from gateway.v2 import messages
from gateway.v2.access import Gate
from gateway.v2.demand import Demand, SnapshotsRefused
from gateway.v2.encoding import Encoding, Form
from gateway.v2.feed import Variant
from gateway.v2.interfaces import Board, Feeds
from gateway.v2.options import Options, options_of, positions_of, selection_of, shown
from gateway.v2.requests import (
    MAX_LIST,
    MAX_MESSAGE,
    Auth,
    Ping,
    Position,
    Request,
    Snapshot,
    Subscribe,
    Unsubscribe,
    check_length,
    parse,
)
from gateway.v2.selection import FeedKey, Selection
from gateway.wire import Wire

AUTH_SECONDS: Final = 10.0
"""A client without credentials is disconnected after this."""
EXPIRY_WARNING_NS: Final = 30 * 10**9
LOADING_SECONDS: Final = 10.0
"""A client with a position in a whole book waits at most this long until the book is loaded."""
MAX_PATTERNS: Final = 100
"""Maximum subscriptions with wildcards of a connection: each is tried for each new instrument."""
MAX_L2_SUBSCRIPTIONS: Final = 50
"""Maximum feeds of whole books of a connection. One of 10,000 levels a side takes 50 ms to encode: a client that asks
for hundreds would hold up the others."""
MAX_L2_SNAPSHOTS: Final = 10
"""Maximum feeds of whole books in one request for snapshots, for the same reason."""
MAX_DEFERRED: Final = 1000
"""A client that has not been sent this many of the snapshots it asked for is refused more."""


@dataclass(frozen=True, slots=True)
class Membership:
    """A subscription to one feed."""

    variant: Variant
    options: Options


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """A subscription with wildcards: it covers instruments that appear later."""

    request: Subscribe
    selection: Selection
    options: Options


@dataclass(frozen=True, slots=True)
class Deferred:
    """A subscription that waits until its book is loaded, so that the client can continue at its position."""

    request: Subscribe
    options: Options
    positions: dict[tuple[str, str], Position]


@dataclass(frozen=True, slots=True)
class Greeting:
    """What hello says besides the session's own limits."""

    gateway_id: str
    heartbeat_ms: int
    max_book_age_ms: int


@dataclass(slots=True)
class _Access:
    """Who the client is, until when, and when it must have said so."""

    identity: Identity | None
    gate: Gate
    address: str
    deadline: float
    refusal: CloseCode = UNAUTHORIZED
    """Why the client is disconnected at the deadline."""
    warned: bool = field(default=False)

    @property
    def required(self) -> bool:
        return self.identity is None


class Session(Delivery[bytes]):
    """Server side of one client.

    Args:
        queue_bytes: maximum queue of the client before it is conflated.
        identity: from the handshake; None: the client must authenticate first.
        address: of the client, for the gate.
        stall_seconds: how long a conflated client may accept nothing.

    Attributes:
        last_written: time of the last write (monotonic seconds).
    """

    def __init__(
        self,
        board: Board,
        feeds: Feeds,
        wire: Wire,
        encoding: Encoding,
        *,
        queue_bytes: int,
        now: float,
        gate: Gate,
        identity: Identity | None,
        address: str = "",
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        super().__init__(board, wire, queue_bytes=queue_bytes, now=now, stall_seconds=stall_seconds)
        self._board = board
        self._feeds = feeds
        self._encoding = encoding
        self._members: dict[FeedKey, Membership] = {}
        self._patterns: list[Pattern] = []
        self._deferred: dict[FeedKey, Deferred] = {}
        self._deferred_since = now
        self._access = _Access(identity, gate, address, now + AUTH_SECONDS)

    @property
    def subscriptions(self) -> int:
        return len(self._members)

    @property
    def anonymous(self) -> bool:
        """Whether the client has still to say who it is."""
        return self._access.identity is None

    def greet(self, greeting: Greeting) -> None:
        """Queue hello, the first message."""
        self.answer(
            messages.Hello(
                version=2,
                gateway=greeting.gateway_id,
                time=microseconds(self._board.clock()),
                heartbeat_ms=greeting.heartbeat_ms,
                max_book_age_ms=greeting.max_book_age_ms,
                access="required" if self._access.required else "open",
                limits=messages.Limits(MAX_MESSAGE, MAX_SUBSCRIPTIONS, MAX_LIST),
            )
        )

    # --- what the client says -----------------------------------------------------------------------------

    def receive(self, text: str | None, data: bytes | None) -> None:
        """Handle one message of the client, text or binary; every message is answered."""
        if self._ended:
            return
        try:
            self._access.gate.message()
            check_length(len(text or data or ""))
            self._act(parse(self._encoding.decode(text, data)))
        except RequestRefused as refused:
            self._refuse(refused)
        else:
            self._refused_in_row = 0

    def _refuse(self, refused: RequestRefused) -> None:
        if refused.code == "forbidden":
            self._access.gate.forbidden(refused)
        retry_after = getattr(refused, "retry_after_ms", None)
        self.answer(
            messages.Error(
                refused.request_id, refused.code, redacted(str(refused)), UNSET if retry_after is None else retry_after
            )
        )
        self._count_refused(refused.code)

    def _act(self, request: Request) -> None:
        try:
            match request:
                case Ping():
                    self.answer(messages.Pong(request.id, microseconds(self._board.clock())))
                case Auth():
                    self._authenticate(request)
                case _:
                    self._select(request, self._authenticated())
        except RequestRefused as refused:
            refused.request_id = request.id
            raise

    def _select(self, request: Subscribe | Unsubscribe | Snapshot, identity: Identity) -> None:
        match request.op:
            case "subscribe":
                self._subscribe(request, identity)
            case "unsubscribe":
                self._unsubscribe(request)
            case _:
                self._snapshot(request, identity)

    # --- access -------------------------------------------------------------------------------------------

    def _authenticated(self) -> Identity:
        """Return who the client is.

        Raises:
            RequestRefused: it has not said so yet.
        """
        if self._access.identity is None:
            raise RequestRefused("unauthorized", "credentials are required: send auth first")
        return self._access.identity

    def _authenticate(self, request: Auth) -> None:
        access = self._access
        try:
            identity = access.gate.identify(request.token, access.address)
        except RequestRefused as refused:
            if access.identity is None:
                access.refusal = getattr(refused, "close_code", UNAUTHORIZED)
                if getattr(refused, "retry_after_ms", None) is None:
                    access.deadline = 0.0  # the error is sent first, then check() closes
            raise
        access.identity, access.warned = identity, False
        self.answer(
            messages.Authenticated(
                request.id,
                identity.name,
                sorted(identity.scopes),
                None if identity.expires is None else microseconds(identity.expires),
            )
        )
        self._leave_forbidden(identity)

    def _leave_forbidden(self, identity: Identity) -> None:
        """End the subscriptions that new credentials do not cover."""
        gone: dict[str, list[FeedKey]] = {}
        mine = (*self._members, *self._deferred)
        keys = [key for key in mine if not identity.may_stream(key.channel, key.venue)]
        self._leave(keys)
        for key in keys:
            gone.setdefault(key.channel, []).append(key)
        for channel, keys in gone.items():
            self.answer(messages.Unsubscribed(None, channel, [_name(key) for key in keys]))

    def _permitted(self, selection: Selection, identity: Identity) -> list[FeedKey]:
        """Return the feeds of a selection that the client may see.

        Raises:
            RequestRefused: a feed that it may not see is named, or the name of an instrument is unknown.
        """
        channel = selection.channel
        for venue in selection.venues.exact if selection.venues is not None else ():
            if not identity.may_stream(channel, venue):
                raise RequestRefused("forbidden", f"{identity.name} may not see {channel} of {venue[:80]!r}")
        if selection.venues is None and not identity.may_stream(channel, None):
            raise RequestRefused("forbidden", f"{identity.name} may not see {channel}")
        return self._feeds.match(selection, partial(identity.may_stream, channel))

    # --- subscriptions ------------------------------------------------------------------------------------

    def _subscribe(self, request: Subscribe, identity: Identity) -> None:
        selection, options = selection_of(request), options_of(request)
        keys = self._permitted(selection, identity)
        self._check_room(keys)
        if selection.open_ended:
            others = [each for each in self._patterns if each.selection != selection]
            if len(others) >= MAX_PATTERNS:
                raise RequestRefused("too_many_subscriptions", f"at most {MAX_PATTERNS} with wildcards per connection")
            self._patterns = [*others, Pattern(request, selection, options)]
            self._feeds.watchers[self] = None
        positions = positions_of(request)
        self._leave(keys)
        waiting = [
            key
            for key in keys
            if (key.venue or "", key.symbol or "") in positions and self._feeds.await_book(key, self)
        ]
        self._deferred |= dict.fromkeys(waiting, Deferred(request, options, positions))
        self._join(request, options, [key for key in keys if key not in self._deferred], positions)

    def loaded(self, key: FeedKey) -> None:
        """Subscribe to a feed whose book is loaded now, or has not been for too long."""
        deferred = self._deferred.pop(key, None)
        if deferred is not None:
            self._join(deferred.request, deferred.options, [key], deferred.positions)

    def _check_room(self, keys: Iterable[FeedKey]) -> None:
        """Check the limits of subscriptions, with ``keys`` added.

        Raises:
            RequestRefused: one would be exceeded.
        """
        feeds = self._members.keys() | self._deferred.keys() | set(keys)
        if len(feeds) > MAX_SUBSCRIPTIONS:
            reason = f"{len(feeds)} feeds; at most {MAX_SUBSCRIPTIONS} per connection"
            raise RequestRefused("too_many_subscriptions", reason)
        if (books := sum(key.channel == "l2" for key in feeds)) > MAX_L2_SUBSCRIPTIONS:
            reason = f"{books} feeds of l2; at most {MAX_L2_SUBSCRIPTIONS} per connection"
            raise RequestRefused("too_many_subscriptions", reason)

    def _join(
        self, request: Subscribe, options: Options, keys: list[FeedKey], positions: dict[tuple[str, str], Position]
    ) -> None:
        """Subscribe to feeds; the answer first, then the messages of each in the same step."""
        form = Form(self._encoding, options.checksum)
        wanted = getattr(request, "snapshot", True)
        joined: list[tuple[FeedKey, bool | None, Variant, Sequence[bytes] | None]] = []
        for key in keys:
            variant = self._feeds.variant(key, options, form)
            position = positions.get((key.venue or "", key.symbol or ""))
            missed = None if position is None else variant.recover(position)
            first: Sequence[bytes] | None
            if missed is not None:
                first = missed
            elif key.channel == "l2":
                first = None  # large: built when the client can be written to
                if not variant.feed.audience:
                    variant.feed.catch_up()
            else:
                first = variant.snapshot() if wanted or position is not None else ()
            variant.join(self)
            self._members[key] = Membership(variant, options)
            metrics.GATEWAY_SUBSCRIPTIONS.labels(channel=key.channel).inc()
            joined.append((key, None if position is None else missed is not None, variant, first))
        feeds = [messages.SubscribedFeed(recovered, *_place(key)) for key, recovered, _, _ in joined]
        self.answer(messages.Subscribed(request.id, request.channel, feeds, **shown(request.channel, options)))
        for _, _, variant, first in joined:
            if first is None:
                self._outbox.later(variant)
            else:
                self._outbox.begin(variant, first)

    def appeared(self, keys: Iterable[FeedKey]) -> None:
        """Subscribe to those of the new feeds that match a pattern; one that matches several gets the last one's."""
        identity = self._access.identity
        if identity is None or self._ended:
            return
        for key in keys:
            if key in self._members or key in self._deferred or not identity.may_stream(key.channel, key.venue):
                continue
            pattern = next(
                (
                    each
                    for each in reversed(self._patterns)
                    if each.selection.channel == key.channel and each.selection.match(key)
                ),
                None,
            )
            if pattern is None:
                continue
            try:
                self._check_room([key])
            except RequestRefused as refused:
                reason = f"{key.channel} of {key.venue} {key.symbol} is new and matches, but would make {refused}"
                self.answer(messages.Error(pattern.request.id, refused.code, reason))
                continue
            self._join(pattern.request, pattern.options, [key], {})

    def _unsubscribe(self, request: Unsubscribe) -> None:
        selection = selection_of(request)
        mine = (*self._members, *self._deferred)
        keys = [key for key in mine if key.channel == selection.channel and selection.match(key)]
        self._leave(keys)
        # A pattern ends with all that it covers; one that is only narrowed goes on with the rest.
        self._patterns = [
            each
            for each in self._patterns
            if each.selection.channel != selection.channel or not _covers(selection, each.selection)
        ]
        if not self._patterns:
            self._feeds.watchers.pop(self, None)
        self.answer(messages.Unsubscribed(request.id, request.channel, [_name(key) for key in keys]))

    def _snapshot(self, request: Snapshot, identity: Identity) -> None:
        if self._outbox.conflated or self._outbox.overflowing:
            raise SnapshotsRefused("the client does not read what it gets: the queue is full")
        keys = self._permitted(selection_of(request), identity)
        if len(keys) > MAX_LIST:
            raise RequestRefused("bad_value", f"{len(keys)} feeds match; at most {MAX_LIST} per snapshot")
        if request.channel == "l2" and len(keys) > MAX_L2_SNAPSHOTS:
            reason = f"{len(keys)} feeds of l2 match; at most {MAX_L2_SNAPSHOTS} per snapshot"
            raise RequestRefused("too_many_subscriptions", reason)
        if self._outbox.deferred >= MAX_DEFERRED:
            raise SnapshotsRefused(
                f"{self._outbox.deferred} snapshots are not read yet; they are to be fewer than {MAX_DEFERRED}"
            )
        demand = Demand(request.id, keys, options_of(request), self._feeds, self._encoding, self._may_see)
        self._outbox.defer(*demand.parts())
        self._queued(0)

    def _may_see(self, key: FeedKey) -> bool:
        identity = self._access.identity
        return identity is not None and identity.may_stream(key.channel, key.venue)

    def _leave(self, keys: Iterable[FeedKey]) -> None:
        """End the subscriptions to feeds, if there are any."""
        left: list[Variant] = []
        for key in keys:
            if self._deferred.pop(key, None) is not None:
                self._feeds.stop_waiting(key, self)
            member = self._members.pop(key, None)
            if member is not None:
                member.variant.leave(self)
                self._feeds.leave(key, member.options)
                left.append(member.variant)
                metrics.GATEWAY_SUBSCRIPTIONS.labels(channel=key.channel).dec()
        if left:
            self._outbox.forget(*left)

    # --- what the client gets -----------------------------------------------------------------------------

    def answer(self, message: Struct) -> None:
        """Queue a message that belongs to no feed; a client with too many unread ones is disconnected."""
        self._send(self._encoding.encode(message))

    def _framed(self, messages: tuple[bytes, ...]) -> bytes:
        return self._board.shared_frame(messages, partial(self._encoding.frame, messages))

    def heartbeat(self, time_ns: int) -> None:
        """Queue a heartbeat: nothing else was written for a while."""
        self.answer(messages.Heartbeat(microseconds(time_ns)))

    def announce_shutdown(self, reconnect_ms: tuple[int, int]) -> None:
        """Queue the announcement that the gateway stops, and when to come back."""
        self.answer(messages.Shutdown(reconnect_ms))

    # --- time ---------------------------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Disconnect a client that accepts nothing, or whose access has ended; call it about once a second."""
        self._check_stalled(now)
        if not self._deferred:
            self._deferred_since = now
        elif now - self._deferred_since >= LOADING_SECONDS:
            for key in list(self._deferred):
                self._feeds.stop_waiting(key, self)
                self.loaded(key)
        access = self._access
        if access.identity is None:
            if now >= access.deadline:
                self.close(access.refusal)
            return
        try:
            access.gate.check()
        except AccessRefused as refusal:
            self.close(refusal.close_code)
            return
        expires = access.identity.expires
        if expires is None:
            return
        left = expires - self._board.clock()
        if left <= 0:
            self.close(CloseCode(UNAUTHORIZED.number, "token expired"))
        elif left <= EXPIRY_WARNING_NS and not access.warned:
            access.warned = True
            self.answer(messages.TokenExpiring(microseconds(expires)))

    def _leave_all(self) -> None:
        self._patterns.clear()
        self._feeds.watchers.pop(self, None)
        self._leave((*self._members, *self._deferred))


def _place(key: FeedKey) -> tuple[Any, Any]:
    """Return venue and symbol for a message; what the channel does not have is left out."""
    venue = UNSET if key.channel == "arbitrage" else key.venue
    return venue, UNSET if key.symbol is None else key.symbol


def _name(key: FeedKey) -> messages.FeedName:
    return messages.FeedName(*_place(key))


def _covers(one: Selection, other: Selection) -> bool:
    """Return whether ``one`` certainly selects all that ``other`` does: ``*``, or all of its names and patterns."""
    return all(
        mine is None or theirs is None or mine.everything or set(theirs.texts) <= set(mine.texts)
        for mine, theirs in ((one.venues, other.venues), (one.symbols, other.symbols))
    )
