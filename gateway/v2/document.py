"""AsyncAPI document of the protocol, generated from the classes of its messages."""

from __future__ import annotations

import inspect
from typing import Any, Final, get_args

import msgspec
from msgspec import Struct

from gateway.v2 import messages, requests
from gateway.v2.encoding import JSON, MSGPACK

PATH: Final = "/api/asyncapi.json"
STREAM: Final = "/ws/v2"

_SCHEMAS: Final = "#/components/schemas/"

SENT: Final[tuple[type[Struct], ...]] = (
    messages.Hello,
    messages.Heartbeat,
    messages.Shutdown,
    messages.Pong,
    messages.Authenticated,
    messages.TokenExpiring,
    messages.Error,
    messages.Subscribed,
    messages.Unsubscribed,
    messages.Done,
    messages.BookSnapshot,
    messages.BookDelta,
    messages.Bbo,
    messages.TradesSnapshot,
    messages.Trades,
    messages.CandleMessage,
    messages.Stats,
    messages.OpportunitiesSnapshot,
    messages.Opportunity,
    messages.AlertsSnapshot,
    messages.Alert,
    messages.VenueStatus,
    messages.ServiceStatus,
    messages.PackedBookSnapshot,
    messages.PackedBookDelta,
    messages.PackedBbo,
)
"""Messages of the gateway."""
PACKED: Final = (messages.PackedBookSnapshot, messages.PackedBookDelta, messages.PackedBbo)
"""Messages of MessagePack in place of their JSON forms."""
UNPACKED: Final = (messages.BookSnapshot, messages.BookDelta, messages.Bbo)

RECEIVED: Final[tuple[type[Struct], ...]] = (
    *get_args(requests.Subscribe),
    *get_args(requests.Unsubscribe),
    *get_args(requests.Snapshot),
    requests.Ping,
    requests.Auth,
)
"""Messages of clients."""


def _summary(kind: type[Struct]) -> str:
    """Return the first line of a class's documentation, if it has its own."""
    text = inspect.cleandoc(kind.__doc__ or "").partition("\n")[0]
    return "" if text.startswith(f"{kind.__name__}(") else text.replace(":class:", "").replace("`", "")


def _message(kind: type[Struct]) -> dict[str, Any]:
    made: dict[str, Any] = {"name": kind.__name__, "payload": {"$ref": f"{_SCHEMAS}{kind.__name__}"}}
    if summary := _summary(kind):
        made["summary"] = summary
    if kind in PACKED:
        made["contentType"] = "application/msgpack"
    return made


def schemas() -> dict[str, Any]:
    """Return the JSON Schemas of all messages and their parts, by name."""
    _, components = msgspec.json.schema_components((*SENT, *RECEIVED), ref_template=f"{_SCHEMAS}{{name}}")
    return components


def document() -> dict[str, Any]:
    """Return the document (AsyncAPI 3.0)."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "AlphaPulse stream",
            "version": f"{messages.VERSION}",
            "description": "Live books, trades, candles, statistics, opportunities, alerts and status across venues. "
            f"A WebSocket with the subprotocol {JSON.name} (or none) carries JSON text, one or more messages per "
            f"WebSocket message, one per line; with {MSGPACK.name} it carries MessagePack maps, one after the other. "
            "Clients ignore unknown fields and messages of an unknown type. The rules are in docs/stream.md.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "stream": {
                "address": STREAM,
                "messages": {
                    kind.__name__: {"$ref": f"#/components/messages/{kind.__name__}"} for kind in (*SENT, *RECEIVED)
                },
                "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
            }
        },
        "operations": {
            "send": _operation("send", "What the gateway sends.", SENT),
            "receive": _operation("receive", "What clients send.", RECEIVED),
        },
        "components": {
            "messages": {kind.__name__: _message(kind) for kind in (*SENT, *RECEIVED)},
            "schemas": schemas(),
        },
    }


def _operation(action: str, summary: str, kinds: tuple[type[Struct], ...]) -> dict[str, Any]:
    return {
        "action": action,
        "summary": summary,
        "channel": {"$ref": "#/channels/stream"},
        "messages": [{"$ref": f"#/channels/stream/messages/{kind.__name__}"} for kind in kinds],
    }
