"""The client: a :class:`~alphapulse.client.session.Session` on WebSocket connections, one after the other."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self, TypeAlias
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from alphapulse.client.book import Book
from alphapulse.client.errors import (
    ClientClosed,
    ClientError,
    CredentialsRefused,
    Disconnected,
)
from alphapulse.client.events import (
    Answered,
    Authenticated,
    Confirmed,
    Delivered,
    Event,
    Failed,
    HangUp,
    Ready,
    Refused,
    TokenNeeded,
)
from alphapulse.client.messages import BOOK_CHANNELS, FeedMessage
from alphapulse.client.reconnecting import CLOSED, UNAUTHORIZED, End, Reconnecting
from alphapulse.client.session import Session
from alphapulse.client.subscriptions import Request
from alphapulse.client.wire import SUBPROTOCOLS, Encoding

Names: TypeAlias = str | Sequence[str]
Token: TypeAlias = str | Callable[[], str | Awaitable[str]]

TICK: Final = 0.25
MAX_MESSAGE: Final = 64 * 1024 * 1024
"""Bytes of one WebSocket message: a whole book of thousands of levels fits many times."""

_log = logging.getLogger(__name__)


class Subscription(AsyncIterator[FeedMessage]):
    """An async iterator over the messages of a subscription, through all reconnections.

    A :class:`~alphapulse.client.messages.Gap` comes wherever messages may be missing. Leaving ``async for`` does not
    end the subscription; :meth:`close` does, and so does the end of the client. Iteration raises what ended the
    subscription: :exc:`~alphapulse.client.errors.OperationRefused`, or the error that ended the client.
    """

    def __init__(self, client: Client, key: int, queue_size: int) -> None:
        self._client = client
        self._key = key
        self._size = queue_size
        self._messages: deque[FeedMessage] = deque()
        self._ended = False
        # Set at each change, for whoever waits for a message, or for room.
        self._filled = asyncio.Event()
        self._taken = asyncio.Event()
        self._confirmed = asyncio.Event()
        self._error: ClientError | None = None

    async def confirmed(self) -> None:
        """Wait until the gateway has accepted the subscription.

        Raises:
            ClientError: it was refused, or the client ended.
        """
        await self._confirmed.wait()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Unsubscribe; iteration ends."""
        self._client._forget(self._key)  # noqa: SLF001 one module, two halves
        self.end(None)

    async def __anext__(self) -> FeedMessage:
        if self._size == 0:
            raise ClientError("a subscription without messages (messages=False) only keeps books")
        # Nothing is taken before the last await: a cancelled wait loses no message.
        while not self._messages:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            self._filled.clear()
            await self._filled.wait()
        self._taken.set()
        return self._messages.popleft()

    # For the client.

    def confirm(self) -> None:
        self._confirmed.set()

    def end(self, error: ClientError | None) -> None:
        if self._ended:
            return
        self._ended, self._error = True, error
        if error is None:
            self._messages.clear()
        for changed in (self._confirmed, self._filled, self._taken):
            changed.set()

    async def put(self, message: FeedMessage) -> None:
        """Add a message; wait until there is room."""
        if self._size == 0:
            return
        while len(self._messages) >= self._size and not self._ended:
            self._taken.clear()
            await self._taken.wait()
        if not self._ended:
            self._messages.append(message)
            self._filled.set()


class Client:
    """A connection to a gateway's stream that is kept up: use as ``async with Client("ws://127.0.0.1:8000/ws/v2")``.

    **Slow users.** Each subscription holds up to ``queue_size`` messages. While one is full, the socket is not read,
    for no subscription: the gateway conflates then (books and quotes become one newer message, trades are dropped with
    a :class:`~alphapulse.client.messages.Gap`), and disconnects a client that reads nothing for 10 s; this one
    connects again as soon as its user goes on, and continues or tells the gap.

    Args:
        url: of the stream, ``ws://…/ws/v2`` or ``wss://``.
        token: token or API key, or a callable (async or not) that returns one: it is called for each connection, and
            before a token expires. It is sent in band, never in the URL. What it raises ends the client.
        encoding: ``json``, or ``msgpack`` (smaller).
        open_timeout: seconds that ``async with`` waits for the first connection; None: for ever.
        queue_size: messages that a subscription holds for its user.

    Entering the block raises :exc:`Disconnected` if no gateway answered in ``open_timeout``, and
    :exc:`ConnectionRefused` if it said not to come back.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Token | None = None,
        encoding: Encoding = "json",
        open_timeout: float | None = 10.0,
        queue_size: int = 1024,
    ) -> None:
        if encoding not in SUBPROTOCOLS:
            raise ValueError(f"encoding: {encoding!r} unknown; known: {', '.join(SUBPROTOCOLS)}")
        if queue_size < 1:
            raise ValueError(f"queue_size: {queue_size}, expected 1 or more")
        self.url = url
        self._token = token
        self._open_timeout = open_timeout
        self._queue_size = queue_size
        self._session = Session(encoding=encoding)
        self._reconnecting = Reconnecting(local=_is_loopback(url))
        self._subscriptions: dict[int, Subscription] = {}
        self._answers: dict[int, asyncio.Future[tuple[FeedMessage, ...]]] = {}
        self._wake = asyncio.Event()
        self._up = asyncio.Event()
        self._reading = True
        self._refused_token: str | None = None
        self._sent_token: str | None = None
        self._last: str = ""
        self._hung_up: HangUp | None = None
        self._error: ClientError | None = None
        self._task: asyncio.Task[None] | None = None
        self._token_tasks: set[asyncio.Task[None]] = set()
        self._token_failure: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="alphapulse.client")
        up = asyncio.ensure_future(self._up.wait())
        try:
            await asyncio.wait({up, self._task}, timeout=self._open_timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            up.cancel()
            if not self._up.is_set():
                self._task.cancel()
        if not self._up.is_set():
            # Raises what ended it.
            with suppress(asyncio.CancelledError):
                await self._task
            raise Disconnected(f"{self.url}: no connection in {self._open_timeout} s; {self._last or 'no answer'}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            # What ended it was logged, and raised by whoever used the client.
            await asyncio.gather(self._task, return_exceptions=True)
        self._end(ClientClosed("the client is closed"))

    def subscribe(
        self,
        channel: str,
        *,
        venue: Names | None = None,
        symbol: Names | None = None,
        messages: bool = True,
        **options: Any,
    ) -> Subscription:
        """Subscribe now, and again after each reconnection; return the iterator over the messages.

        Args:
            channel: book, l2, bbo, trades, candles, stats, arbitrage, alerts, status.
            venue, symbol: a name, a pattern with ``*``, or a list of them.
            messages: False: keep the books (:meth:`book`), deliver nothing.
            options: of the channel: ``levels``, ``interval_ms``, ``checksum`` (books: True unless told otherwise),
                ``candle_interval`` (seconds), ``snapshot``. The gateway refuses others.

        Raises:
            SubscriptionOverlap: another subscription of this client could have one of its feeds.
            ClientError: what ended the client.
        """
        self._check()
        if channel in BOOK_CHANNELS:
            options.setdefault("checksum", True)
        key = self._session.subscribe(Request(channel, _names(venue), _names(symbol), options))
        subscription = Subscription(self, key, self._queue_size if messages else 0)
        self._subscriptions[key] = subscription
        self._wake.set()
        return subscription

    def book(self, venue: str, symbol: str, *, channel: str = "book") -> Book:
        """Return the book kept of a subscribed feed (``channel``: book or l2); it changes as messages arrive.

        Raises:
            ClientError: no subscription covers it.
        """
        book = self._session.book(channel, venue, symbol)
        if book is None:
            raise ClientError(f"no subscription covers {channel} {venue} {symbol}")
        return book

    async def snapshot(
        self, channel: str, *, venue: Names | None = None, symbol: Names | None = None, **options: Any
    ) -> tuple[FeedMessage, ...]:
        """Return the present state of feeds, subscribed or not; no subscription is changed.

        Raises:
            OperationRefused: the gateway refused.
            Disconnected: the connection was lost before the answer.
        """
        self._check()
        answer: asyncio.Future[tuple[FeedMessage, ...]] = asyncio.get_running_loop().create_future()
        asked = self._session.request_snapshot(Request(channel, _names(venue), _names(symbol), options))
        self._answers[asked] = answer
        self._wake.set()
        return await answer

    def gateway_time(self) -> int | None:
        """Return the gateway's clock now (µs since the epoch)."""
        return self._session.gateway_time()

    @property
    def counters(self) -> dict[str, int]:
        """Messages, gaps and unreadable messages so far."""
        return dict(self._session.counters)

    # --- for subscriptions ---------------------------------------------------------------------------------

    def _forget(self, key: int) -> None:
        self._session.unsubscribe(key)
        self._subscriptions.pop(key, None)
        self._wake.set()

    # --- connections ---------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _end(self, error: ClientError) -> None:
        if self._error is None:
            self._error = error
        for subscription in self._subscriptions.values():
            subscription.end(error)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)
        self._subscriptions.clear()
        self._answers.clear()

    async def _run(self) -> None:
        try:
            while True:
                end = await self._connection()
                self._check_refusal(end)
                pause = self._reconnecting.pause(end)
                self._last = end.reason or f"closed with code {end.code}"
                _log.info("%s: %s; connecting again in %.1f s", self.url, self._last, pause)
                await asyncio.sleep(pause)
        except ClientError as error:
            _log.error("%s: the client ended: %s", self.url, error)
            self._end(error)
            raise
        except Exception as error:
            # The user's callback, or a fault of ours: nobody is left waiting.
            _log.exception("%s: the client ended", self.url)
            ended = ClientError(f"the client ended: {error!r}")
            ended.__cause__ = error
            self._end(ended)
            raise
        finally:
            for task in self._token_tasks:
                task.cancel()

    def _check_refusal(self, end: End) -> None:
        """Raise if the gateway said not to come back, unless the callback may have another token."""
        refusal = self._reconnecting.refusal(end)
        if refusal is None:
            return
        if refusal.code != UNAUTHORIZED or not callable(self._token) or self._sent_token is None:
            raise refusal
        self._refused_token = self._sent_token

    async def _connection(self) -> End:
        started = time.monotonic()
        try:
            connection = await connect(
                self.url,
                subprotocols=[Subprotocol(SUBPROTOCOLS[self._session.encoding])],
                compression=None,
                ping_interval=None,  # the stream has heartbeats
                max_size=MAX_MESSAGE,
                open_timeout=10.0,
                close_timeout=1.0,
            )
        except InvalidStatus as refused:
            response = refused.response
            text = (response.body or b"")[:200].decode(errors="replace")
            reason = f"handshake refused with {response.status_code} {text}".rstrip()
            return End(status=response.status_code, reason=reason, retry_after=_seconds(response.headers))
        except (OSError, TimeoutError, InvalidHandshake) as error:
            return End(reason=str(error) or repr(error))
        self._hung_up = None
        self._session.opened(started)
        self._wake.set()
        failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._token_failure = failure
        reading, *others = [asyncio.create_task(work(connection)) for work in (self._read, self._write, self._watch)]
        try:
            await self._until_read(reading, [failure, *others])
        finally:
            for task in (reading, failure, *others):
                task.cancel()
            await asyncio.gather(reading, *others, return_exceptions=True)
            await connection.close(CLOSED)
            end, events = self._session.closed(*self._close_code(connection))
            for event in events:
                await self._handle(event, connection)
        return end

    def _close_code(self, connection: ClientConnection) -> tuple[int, str]:
        if self._hung_up is not None:
            return self._hung_up.code, self._hung_up.reason
        return connection.close_code or 1006, connection.close_reason or ""

    async def _until_read(self, reading: asyncio.Task[None], others: list[asyncio.Future[None]]) -> None:
        """Wait until all that came is delivered: a user who is slow gets the last messages before the reconnection."""
        pending: set[asyncio.Future[None]] = {reading, *others}
        while reading in pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if (error := task.exception()) is not None and not isinstance(error, ConnectionClosed):
                    raise error

    async def _read(self, connection: ClientConnection) -> None:
        async for data in connection:
            for event in self._session.receive(data):
                await self._handle(event, connection)
            self._wake.set()

    async def _write(self, connection: ClientConnection) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            for data in self._session.data_to_send():
                await connection.send(data)

    async def _watch(self, connection: ClientConnection) -> None:
        while True:
            await asyncio.sleep(TICK)
            for event in self._session.tick(reading=self._reading):
                await self._handle(event, connection)
            self._wake.set()

    async def _handle(self, event: Event, connection: ClientConnection) -> None:
        match event:
            case Delivered(key, message):
                if (subscription := self._subscriptions.get(key)) is not None:
                    self._reading = False
                    try:
                        await subscription.put(message)
                    finally:
                        self._reading = True
            case Ready():
                self._up.set()
            case TokenNeeded():
                self._begin_authentication()
            case Authenticated():
                self._refused_token = None
            case HangUp(code, reason):
                self._hung_up = event
                _log.warning("%s: %s", self.url, reason)
                await connection.close(code, reason.encode()[:120].decode(errors="ignore"))
            case _:
                self._settle(event)

    def _settle(self, event: Confirmed | Refused | Answered | Failed) -> None:
        """Tell whoever waits for the gateway's answer."""
        match event:
            case Confirmed(key):
                if (subscription := self._subscriptions.get(key)) is not None:
                    subscription.confirm()
            case Refused(key, error):
                if (subscription := self._subscriptions.pop(key, None)) is not None:
                    subscription.end(error)
            case Answered(request, messages):
                if (answer := self._answers.pop(request, None)) is not None and not answer.done():
                    answer.set_result(messages)
            case Failed(request, error):
                if (answer := self._answers.pop(request, None)) is not None and not answer.done():
                    answer.set_exception(error)

    def _begin_authentication(self) -> None:
        if self._token is None:
            raise CredentialsRefused(3000, "the gateway requires a token")
        task = asyncio.create_task(self._authenticate())
        self._token_tasks.add(task)
        task.add_done_callback(self._token_tasks.discard)

    async def _authenticate(self) -> None:
        failure = self._token_failure
        try:
            token = await self._fresh_token()
        except Exception as error:  # noqa: BLE001 handed over to the task that ends the client
            if failure is not None and not failure.done():
                failure.set_exception(error)
            return
        self._sent_token = token
        self._session.authenticate(token)
        self._wake.set()

    async def _fresh_token(self) -> str:
        token = self._token() if callable(self._token) else self._token
        if inspect.isawaitable(token):
            token = await token
        if not isinstance(token, str):
            raise ClientError(f"token: expected text, found {type(token).__name__}")
        if token == self._refused_token:
            raise CredentialsRefused(UNAUTHORIZED, "the gateway refused this token before")
        return token


def _names(names: Names | None) -> tuple[str, ...]:
    if names is None:
        return ()
    return (names,) if isinstance(names, str) else tuple(names)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "localhost" or host == "::1" or host.startswith("127.")


def _seconds(headers: Any) -> float:
    """Return Retry-After in seconds; 0 if there is none (or a date, which gateways do not send)."""
    value = headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else 0.0
