"""OKX, WebSocket v5, public channels: https://www.okx.com/docs-v5/en/#overview-websocket-overview."""

from producers.okx.protocol import OkxProtocol
from producers.venue import Venue

VENUE = Venue(
    name="okx",
    websocket_url="wss://ws.okx.com:8443/ws/v5/public",
    protocol=OkxProtocol,
    # The venue cuts a connection on which nothing was said for 30 s; the text "ping" is answered with the text "pong".
    # https://www.okx.com/docs-v5/en/#overview-websocket-overview
    silence_seconds=25.0,
    ping_seconds=10.0,
    text_ping="ping",
    messages_per_second=3.0,
)
