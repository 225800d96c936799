from __future__ import annotations

from gateway.v2.options import Options, options_of, positions_of, selection_of, shown
from gateway.v2.requests import CHANNELS, Ping, parse


def subscribe(channel: str, **fields: object) -> object:
    names = {"venue": "k*"} | ({} if channel in ("alerts", "status") else {"symbol": "*"})
    if channel == "arbitrage":
        del names["venue"]
    return parse({"op": "subscribe", "channel": channel} | names | fields)


def test_only_the_channels_own_options_are_shown() -> None:
    expected = {
        "book": {"levels", "interval_ms", "checksum"},
        "bbo": {"interval_ms"},
        "l2": {"interval_ms", "checksum"},
        "trades": {"interval_ms"},
        "candles": {"candle_interval"},
        "stats": {"interval_ms"},
    }
    for channel in CHANNELS:
        request = subscribe(channel)
        assert not isinstance(request, Ping)
        assert options_of(request) == Options()  # type: ignore[arg-type]
        assert shown(channel, Options()).keys() == expected.get(channel, set())


def test_a_request_is_a_selection_with_options_and_positions() -> None:
    position = {"venue": "kraken", "symbol": "BTC-USD", "epoch": "1", "sequence": 1}
    request = subscribe("book", levels=5, checksum=True, since=[position, position | {"sequence": 2}])
    assert options_of(request) == Options(levels=5, checksum=True)  # type: ignore[arg-type]
    selection = selection_of(request)  # type: ignore[arg-type]
    assert selection.venues is not None
    assert selection.symbols is not None
    assert (selection.channel, selection.venues.texts, selection.symbols.texts) == ("book", ("k*",), ("*",))
    (found,) = positions_of(request).values()  # type: ignore[arg-type]
    assert getattr(found, "sequence", None) == 2
    assert selection_of(subscribe("arbitrage")).venues is None  # type: ignore[arg-type]
