from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr

from alphapulse.config import VenueSettings
from alphapulse.errors import ConfigError, ValueRefused
from producers.feed.actions import Halt, Note, Output, Reconnect, Refused, Send
from producers.venues.alpaca import VENUE
from producers.venues.alpaca.bars import BARS_VENUE, MINUTE, trade_number
from producers.venues.alpaca.protocol import LIMIT_SECONDS, AlpacaProtocol
from producers.venues.alpaca.server import SYMBOLS_ON_IEX, AlpacaSession
from producers.venues.alpaca.symbols import venue_symbol
from schemas.records import Candle, Quote, Trade
from tests.unit.producers.venues.alpaca.test_calendar import at

NOON = at("2026-11-18T12:00:00")
S = 10**9
TIME = "2021-02-22T15:51:44.208123456Z"
TRADE = {"T": "t", "i": 96921, "S": "AAPL", "x": "D", "p": 126.55, "s": 1, "t": TIME, "c": ["@", "I"], "z": "C"}
QUOTE = {"T": "q", "S": "AAPL", "bp": 87.66, "bs": 1, "ap": 87.68, "as": 4, "t": TIME}
BAR = {"T": "b", "S": "AAPL", "o": 126.1, "h": 126.7, "l": 126, "c": 126.55, "v": 1200, "n": 12, "vw": 126.345678}
MINUTE_TIME = "2021-02-22T15:51:00Z"


def made(*symbols: str) -> AlpacaProtocol:
    chosen = symbols or ("AAPL", "MSFT")
    return AlpacaProtocol(VenueSettings(symbols=chosen, key=SecretStr("k"), secret=SecretStr("s")))


def frame(*messages: dict[str, Any]) -> bytes:
    return json.dumps(messages).encode()


def take(protocol: AlpacaProtocol, *messages: dict[str, Any], time: int = NOON) -> list[Output]:
    return protocol.receive(frame(*messages), time)


AUTHENTICATED: dict[str, Any] = {"T": "success", "msg": "authenticated"}


def confirmation(*symbols: str) -> dict[str, Any]:
    return {"T": "subscription", "trades": symbols, "quotes": symbols, "bars": symbols}


def test_the_key_goes_first_and_the_subscription_after_it_was_taken() -> None:
    protocol = made()
    (key,) = protocol.subscribe()
    assert json.loads(key.text) == {"action": "auth", "key": "k", "secret": "s"}
    assert take(protocol, {"T": "success", "msg": "connected"}) == []
    (subscribe,) = take(protocol, {"T": "success", "msg": "authenticated"})
    assert isinstance(subscribe, Send)
    both = ["AAPL", "MSFT"]
    wanted = {"action": "subscribe", "trades": both, "quotes": both, "bars": both, "updatedBars": both}
    assert json.loads(subscribe.text) == wanted
    (note,) = take(protocol, confirmation("AAPL", "MSFT"))
    assert isinstance(note, Note)
    assert note.kind == "subscribed"


def test_what_is_not_confirmed_is_told() -> None:
    protocol = made()
    take(protocol, AUTHENTICATED)
    found = take(protocol, {**confirmation("AAPL", "MSFT"), "quotes": ["AAPL"]})
    (refusal,) = [output for output in found if isinstance(output, Note) and output.kind == "subscription_refused"]
    assert refusal.symbol == "MSFT"
    assert refusal.message == "quotes of MSFT: not subscribed to; retry in 1 s"


def asked_again(protocol: AlpacaProtocol, now: float) -> list[dict[str, Any]]:
    return [json.loads(output.text) for output in protocol.retry(now) if isinstance(output, Send)]


def test_what_is_not_confirmed_is_asked_for_again_ever_more_rarely() -> None:
    protocol = made()
    take(protocol, AUTHENTICATED)
    partly = {**confirmation("AAPL", "MSFT"), "quotes": ["AAPL"]}
    times = []
    take(protocol, partly)
    for now in range(100):
        if requests := asked_again(protocol, now):
            assert requests == [{"action": "subscribe", "quotes": ["MSFT"]}]
            times.append(now)
            take(protocol, partly)
    assert times == [1, 4, 9, 18, 35, 68]  # pauses of 1, 2, 4 … s, each from the look after the answer on
    assert protocol.refusals() == {"MSFT": {"quotes": "not subscribed to"}}
    protocol.retry(1000.0)
    take(protocol, confirmation("AAPL", "MSFT"))
    assert protocol.refusals() == {}


def test_a_symbol_taken_up_before_the_first_answer_is_subscribed_to() -> None:
    protocol = made()
    take(protocol, AUTHENTICATED)
    (request,) = protocol.add(["TSLA"])
    assert json.loads(request.text)["trades"] == ["TSLA"]
    take(protocol, confirmation("AAPL", "MSFT"))
    take(protocol, confirmation("AAPL", "MSFT", "TSLA"))
    assert protocol.refusals() == {}


def test_one_symbol_too_many_leaves_the_others_what_they_have() -> None:
    names = [f"A{number}" for number in range(33)]
    protocol = AlpacaProtocol(VenueSettings(symbols=tuple(names), key=SecretStr("k"), secret=SecretStr("s")))
    session = AlpacaSession(names)
    session.opened("/v2/iex", {})
    outputs: list[Output] = list(protocol.subscribe())
    notes: list[Note] = []
    for now in range(60):
        for output in outputs:
            assert not isinstance(output, Halt | Reconnect)
            if isinstance(output, Note):
                notes.append(output)
        replies = [r for o in outputs if isinstance(o, Send) for r in session.received(o.text.encode(), 1).replies]
        outputs = [output for reply in replies for output in protocol.receive(reply, NOON)] or protocol.retry(now)
    assert len({name for feed, name in session.subscriptions if feed == "trades"}) == SYMBOLS_ON_IEX
    left_out = set(names) - {name for _, name in session.subscriptions}
    assert set(protocol.refusals()) == left_out
    assert left_out == {note.symbol for note in notes if note.kind == "subscription_refused"} - {None}


def test_a_trade_keeps_its_nanoseconds_and_its_decimals() -> None:
    (trade,) = take(made(), TRADE)
    assert isinstance(trade, Trade)
    assert (trade.price, trade.price_exponent, trade.size, trade.side) == (12_655_000_000, -8, 100_000_000, "UNKNOWN")
    assert trade.exchange_time % S == 208123456
    assert trade.trade_id == "20210222068" + "96921".zfill(19)


def test_ids_name_a_trade_for_good() -> None:
    evening = at("2026-11-18T19:30:00")
    ids = {trade_number(time, exchange, 7) for time in (evening, evening + 86_400 * S) for exchange in "VD"}
    assert len(ids) == 4
    assert str(trade_number(evening, "V", 7)).startswith("20261118086")


def test_a_repeated_trade_is_taken_once() -> None:
    protocol = made()
    outputs = take(protocol, TRADE, TRADE, {**TRADE, "x": "V"})
    assert len(outputs) == 2
    assert protocol.instruments["AAPL"].tally.duplicate_trades == 1


def test_a_quote() -> None:
    (quote,) = take(made(), QUOTE)
    assert isinstance(quote, Quote)
    assert (quote.bid_price, quote.ask_price, quote.price_exponent) == (8_766_000_000, 8_768_000_000, -8)
    assert (quote.bid_size, quote.ask_size, quote.size_exponent) == (10**8, 4 * 10**8, -8)


def test_bars_are_candles_of_a_venue_of_their_own_and_updates_are_revisions() -> None:
    protocol = made()
    bar = {**BAR, "t": MINUTE_TIME}
    outputs = take(protocol, bar, {**bar, "T": "u", "v": 1300}, {**bar, "t": "2021-02-22T15:52:00Z"})
    candles = [output for output in outputs if isinstance(output, Candle)]
    assert [(candle.venue, candle.revision) for candle in candles] == [(BARS_VENUE, n) for n in (0, 1, 0)]
    candle = candles[0]
    assert (candle.open, candle.high, candle.low, candle.close) == tuple(
        n * 10**6 for n in (12610, 12670, 12600, 12655)
    )
    assert (candle.interval, candle.open_time % MINUTE, candle.trades) == (MINUTE, 0, 12)
    assert (candle.vwap, candle.vwap_exponent, candle.quote_volume) == (12_634_567_800, -8, "151614.8136")
    (updated,) = take(protocol, {**bar, "T": "u", "t": "2021-02-22T15:53:00Z"})
    assert isinstance(updated, Candle)
    assert updated.revision == 1


def test_a_correction_is_an_event_about_the_trade() -> None:
    protocol = made()
    (trade,) = take(protocol, TRADE)
    assert isinstance(trade, Trade)
    change = {"T": "c", "S": "AAPL", "x": "D", "oi": 96921, "op": 126.55, "os": 1, "ci": 96930, "cp": 126.45, "cs": 2}
    (note,) = take(protocol, {**change, "t": TIME})
    assert isinstance(note, Note)
    assert (note.kind, note.symbol, note.loss) == ("trade_correction", "AAPL", None)
    assert note.details["trade_id"] == trade.trade_id
    assert (note.details["corrected_price"], note.details["corrected_size"]) == ("126.45", "2")
    assert note.details["corrected_trade_id"] == trade.trade_id.replace("96921", "96930")


def test_a_cancel_is_an_event_about_the_trade() -> None:
    protocol = made()
    (trade,) = take(protocol, TRADE)
    assert isinstance(trade, Trade)
    (note,) = take(protocol, {"T": "x", "S": "AAPL", "i": 96921, "x": "D", "p": 126.55, "s": 1, "a": "E", "t": TIME})
    assert isinstance(note, Note)
    assert note.kind == "trade_cancel"
    assert (note.details["trade_id"], note.details["action"]) == (trade.trade_id, "E")


@pytest.mark.parametrize("code", [402, 405, 408, 409, 410])
def test_errors_that_trying_again_cannot_mend_stop_the_venue(code: int) -> None:
    note, halt = take(made(), {"T": "error", "code": code, "msg": "no"})
    assert isinstance(note, Note)
    assert (note.severity, f"{code} no" in note.message) == ("ERROR", True)
    assert isinstance(halt, Halt)


@pytest.mark.parametrize(("code", "delay"), [(406, LIMIT_SECONDS), (407, 0.0), (404, 0.0), (500, 0.0)])
def test_errors_that_may_pass_lead_to_a_new_connection(code: int, delay: float) -> None:
    note, reconnect = take(made(), {"T": "error", "code": code, "msg": "no"})
    assert isinstance(note, Note)
    assert note.loss == ("connection" if code == 407 else None)
    assert isinstance(reconnect, Reconnect)
    assert reconnect.delay == delay


def test_connected_but_mute_is_an_event_and_a_new_connection() -> None:
    protocol = made()
    take(protocol, confirmation("AAPL", "MSFT"))
    assert protocol.overdue(NOON + 59 * S) == []
    note, reconnect = protocol.overdue(NOON + 61 * S)
    assert isinstance(note, Note)
    assert (note.kind, note.loss) == ("mute", "silence")
    assert isinstance(reconnect, Reconnect)
    protocol.disconnected(NOON + 62 * S)
    take(protocol, confirmation("AAPL", "MSFT"), time=NOON + 70 * S)
    take(protocol, QUOTE, time=NOON + 80 * S)
    assert protocol.overdue(NOON + 139 * S) == []


def test_at_night_silence_is_normal() -> None:
    protocol = made()
    night = at("2026-11-18T22:00:00")
    take(protocol, confirmation("AAPL", "MSFT"), time=night)
    assert all(protocol.overdue(night + hour * 3600 * S) == [] for hour in range(6))


def test_an_answer_that_never_comes_is_a_reason_to_reconnect() -> None:
    protocol = made()
    assert protocol.overdue(NOON) == []
    assert protocol.overdue(NOON + 14 * S) == []
    assert [type(output) for output in protocol.overdue(NOON + 15 * S)] == [Reconnect]
    protocol.disconnected(NOON + 16 * S)
    assert protocol.overdue(NOON + 60 * S) == []


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ({"T": "s", "S": "AAPL"}, "status"),
        ({"T": "l", "S": "AAPL"}, "luld"),
        ({"T": "d", "S": "AAPL"}, "daily_bar"),
        ({"T": "i", "S": "AAPL"}, "imbalance"),
        ({**TRADE, "S": "TSLA"}, "other_symbol"),
    ],
)
def test_messages_we_do_not_need_are_counted_by_name(message: dict[str, Any], name: str) -> None:
    protocol = made()
    assert take(protocol, message) == []
    assert protocol.ignored == {name: 1}


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "truncated"),
        (b'{"T":"t"}', "array"),
        (frame({"T": "weather"}), "weather"),
        (frame({**TRADE, "p": "ten"}), "'ten'"),
        (frame({**TRADE, "p": -1}), "negative"),
        (frame({**TRADE, "t": "noon"}), "'noon'"),
        (frame({**TRADE, "x": "NYSE"}), "x"),
        (frame({**QUOTE, "bp": [1]}), "'[1]'"),
        (frame({**BAR, "t": TIME}), "not a full minute"),
        (frame({**BAR, "t": MINUTE_TIME, "v": "x"}), "'x'"),
    ],
)
def test_a_refused_message_does_not_take_the_rest_of_its_array_along(data: bytes, told: str) -> None:
    protocol = made()
    (refused, note) = protocol.receive(data, 1)
    assert isinstance(refused, Refused)
    assert isinstance(note, Note)
    assert refused.value == data
    assert told in refused.reason
    if data.startswith(b"[{"):
        outputs = made().receive(b"[" + data[1:-1] + b"," + data[1:-1] + b"," + frame({**TRADE, "i": 9})[1:], 2)
        assert [type(output) for output in outputs] == [Refused, Note, Trade]


def test_what_the_venue_does_not_offer_is_refused_at_start() -> None:
    with pytest.raises(ConfigError) as caught:
        VENUE.protocol(VenueSettings(symbols=("BTC-USD",), depth=10))
    for told in ("venues.alpaca.key: missing", "venues.alpaca.secret: missing", "depth", "'BTC-USD'"):
        assert told in str(caught.value)
    with pytest.raises(ValueRefused, match="not a ticker"):
        venue_symbol("BTC-USD")


def test_symbols_come_and_go_on_a_connection() -> None:
    protocol = made()
    assert protocol.add(["TSLA"]) == []  # the key is not taken yet: they are all subscribed to afterwards
    take(protocol, AUTHENTICATED)
    take(protocol, confirmation("AAPL", "MSFT", "TSLA"))
    (request,) = protocol.add(["BRK.B"])
    assert json.loads(request.text)["trades"] == ["BRK.B"]
    (gone,) = protocol.remove("AAPL", 1)
    assert isinstance(gone, Send)
    assert json.loads(gone.text)["action"] == "unsubscribe"
    assert take(protocol, TRADE) == []
    with pytest.raises(ValueRefused, match="not a ticker"):
        protocol.add(["NVDA", "BTC-USD"])
    assert list(protocol.instruments) == ["MSFT", "TSLA", "BRK.B"]


def test_there_is_no_book_to_disown() -> None:
    assert made("AAPL").invalidate_unopened(NOON) == []


def test_nothing_is_sent_for_no_symbols_and_there_is_nothing_to_resubscribe() -> None:
    assert AlpacaProtocol(VenueSettings(key=SecretStr("k"), secret=SecretStr("s"))).subscribe() == []
    assert made().resubscribe("AAPL") == []
    assert made().path() == ""


def test_the_venues_end() -> None:
    session = AlpacaSession(["AAPL"])

    def said(**request: Any) -> Any:
        (reply,) = session.received(json.dumps(request).encode(), 0).replies
        (message,) = json.loads(reply)
        return message

    assert session.greeting(0) == [b'[{"T":"success","msg":"connected"}]']
    assert said(action="subscribe", trades=["AAPL"])["code"] == 401
    assert said(action="auth", key="", secret="")["code"] == 402
    assert said(action="auth", key="k", secret="s") == {"T": "success", "msg": "authenticated"}
    assert said(action="auth", key="k", secret="s")["code"] == 403
    assert said(action="dance")["code"] == 400
    assert said(action="subscribe", trades="AAPL")["code"] == 400
    assert said(action="subscribe", trades=[f"A{n}" for n in range(31)])["code"] == 405
    assert said(action="subscribe", trades=["AAPL"], quotes=["AAPL"])["quotes"] == ["AAPL"]
    assert said(action="unsubscribe", quotes=["AAPL"])["quotes"] == []
    assert session.received(b"x", 0).replies == [b'[{"T":"error","code":400,"msg":"invalid syntax"}]']
