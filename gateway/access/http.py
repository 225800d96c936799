"""Access over HTTP: the FastAPI dependency, and ASGI middleware for URLs with credentials, limits and CORS."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final
from urllib.parse import parse_qsl

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from alphapulse.errors import RequestRefused
from gateway.access.address import FORWARDED, ClientAddress
from gateway.access.errors import CREDENTIALS_IN_URL, UNAUTHORIZED_CODE, AccessRefused
from gateway.access.gate import Gate, limit_headers
from gateway.access.identity import Identity

SECRET_KEYS: Final = frozenset(
    {
        "access_token",
        "accesstoken",
        "api_key",
        "api-key",
        "apikey",
        "auth",
        "authorization",
        "bearer",
        "credentials",
        "jwt",
        "key",
        "password",
        "secret",
        "token",
    }
)
"""Query keys in which credentials might be sent; compared in lower case."""
LIMIT_HEADERS: Final = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
METHODS: Final = ("GET", "HEAD", "POST", "DELETE")
_LIMITS: Final = "alphapulse.limit_headers"
_IDENTITY: Final = "alphapulse.identity"

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="bearer",
    description="An API key (`alphapulse keys create`) or a JWT; needed where `[gateway.access] mode` is `required`.",
)


def gate_of(connection: HTTPConnection) -> Gate:
    """Return the gate of the application (``app.state.gate``)."""
    gate: Gate = connection.app.state.gate
    return gate


def client_of(connection: HTTPConnection) -> ClientAddress:
    """Return the client's address, behind trusted proxies, too."""
    peer = connection.client.host if connection.client is not None else None
    hops = connection.headers.getlist(FORWARDED)
    return gate_of(connection).addresses.client(peer, ",".join(hops) if hops else None)


def credentials_of(headers: Headers) -> str:
    """Return the credentials of the header ``Authorization: Bearer …``, empty without one.

    Raises:
        AccessRefused: the header has another scheme, or there are several.
    """
    given = headers.getlist("authorization")
    if not given:
        return ""
    scheme, _, credentials = given[0].strip().partition(" ")
    if len(given) > 1 or scheme.lower() != "bearer" or not credentials.strip():
        raise AccessRefused(
            UNAUTHORIZED_CODE, "header Authorization: expected one, Bearer followed by a token or API key"
        )
    return credentials.strip()


async def arrived(connection: HTTPConnection) -> tuple[Identity, ClientAddress]:
    """Identify the client of a request or handshake, and charge it to its limits.

    Raises:
        AccessRefused: the credentials are refused, or a limit is reached.
    """
    gate, address = gate_of(connection), client_of(connection)
    arrival = gate.arrival(address)  # first, so that it bounds what the verification of attempts costs
    identity = await gate.arrive(credentials_of(connection.headers), address.text)
    allowance = gate.request(identity, address, arrival)
    connection.scope.setdefault(_LIMITS, {}).update(limit_headers(allowance))
    connection.scope[_IDENTITY] = identity
    return identity, address


def charge(connection: HTTPConnection) -> None:
    """Charge a request that needs no credentials to the client's address.

    Raises:
        AccessRefused: ``rate_limited``.
    """
    allowance = gate_of(connection).arrival(client_of(connection))
    connection.scope.setdefault(_LIMITS, {}).update(limit_headers(allowance))


def identity_of(connection: HTTPConnection) -> Identity:
    """Return who sends a request that has passed :func:`requires`."""
    identity: Identity = connection.scope[_IDENTITY]
    return identity


def requires(scope: str) -> Callable[..., Awaitable[Identity]]:
    """Return a dependency that yields the client's identity if it has ``scope`` (``rest:market``, …).

    Raises:
        AccessRefused: (the dependency) the client is unknown, has not the scope, or has reached a limit.
    """

    async def identified(request: Request, _: object = Depends(_bearer)) -> Identity:
        identity, address = await arrived(request)
        gate_of(request).call(identity, scope, address.text)
        return identity

    return identified


def requires_where(applies: Callable[[Request], bool], scope: str) -> Callable[[Request], Awaitable[None]]:
    """Return a dependency, after :func:`requires`, that wants ``scope`` too of requests that ``applies`` holds for.

    Raises:
        AccessRefused: (the dependency) the client has not the scope.
    """

    async def checked(request: Request) -> None:
        if applies(request):
            gate_of(request).call(identity_of(request), scope, client_of(request).text)

    return checked


class AccessHeaders:
    """ASGI middleware: refuses credentials in URLs, states limits, answers other origins by ``Vary: Origin``.

    Args:
        refusal: makes the response to a refused request, given its path.
    """

    def __init__(self, app: ASGIApp, refusal: Callable[[RequestRefused, str], Response]) -> None:
        self._app = app
        self._refusal = refusal

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one connection or request; no coroutine of its own stays with a WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            return self._app(scope, receive, send)
        found = secret_key(scope["query_string"])
        if found is not None:
            return self._refusal(_in_url(found), scope["path"])(scope, receive, send)
        if scope["type"] == "websocket":
            return self._app(scope, receive, send)
        return self._stating_limits(scope, receive, send)

    async def _stating_limits(self, scope: Scope, receive: Receive, send: Send) -> None:
        limits: dict[str, str] = {}
        scope[_LIMITS] = limits

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in limits.items():
                    headers.setdefault(name, value)
                if "origin" not in headers.get("vary", "").lower():
                    headers.add_vary_header("Origin")
            await send(message)

        await self._app(scope, receive, send_with_limits)


def secret_key(query: bytes) -> str | None:
    """Return the first key of a query string that credentials might be sent in."""
    if not query:
        return None
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return next((key for key, _ in pairs if key.lower() in SECRET_KEYS), None)


def _in_url(key: str) -> AccessRefused:
    return AccessRefused(
        CREDENTIALS_IN_URL,
        f"query {key}: credentials do not belong in a URL, which proxies, histories and logs keep: send the header"
        " Authorization: Bearer …, or the stream's first message; consider what was sent as known to others",
    )


def cors(allowed_origins: Collection[str]) -> dict[str, Any]:
    """Return the arguments of Starlette's ``CORSMiddleware`` for the origins of ``gateway.allowed_origins``.

    No cookies are involved, so none are allowed; the header ``Authorization`` is.
    """
    return {
        "allow_origins": ["*"] if "*" in allowed_origins else [each.lower().rstrip("/") for each in allowed_origins],
        "allow_methods": list(METHODS),
        "allow_headers": ["Authorization", "Content-Type"],
        "expose_headers": [*LIMIT_HEADERS, "Retry-After", "WWW-Authenticate"],
        "max_age": 600,
    }
