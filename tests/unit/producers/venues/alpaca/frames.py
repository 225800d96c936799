# ruff: noqa: E501 frames in one line, as they come
"""One of each message; see :mod:`tests.fixtures.venue_samples`."""

from __future__ import annotations

from pydantic import SecretStr

from alphapulse.config import VenueSettings

SETTINGS = VenueSettings(symbols=("AAPL",), key=SecretStr("key"), secret=SecretStr("secret"))
SIMULATED = ("AAPL", "MSFT")
DETECTS_LOSS = False
FRAMES = (
    b'[{"T":"success","msg":"connected"}]',
    b'[{"T":"success","msg":"authenticated"}]',
    b'[{"T":"subscription","trades":["AAPL"],"quotes":["AAPL"],"bars":["AAPL"],"updatedBars":["AAPL"],"dailyBars":[],"statuses":[],"lulds":[],"corrections":["AAPL"],"cancelErrors":["AAPL"]}]',
    b'[{"T":"t","i":96921,"S":"AAPL","x":"D","p":126.55,"s":1,"t":"2021-02-22T15:51:44.208123456Z","c":["@","I"],"z":"C"},{"T":"t","i":96922,"S":"AAPL","x":"D","p":126.6,"s":200,"t":"2021-02-22T15:51:44.3Z","c":["@"],"z":"C"}]',
    b'[{"T":"q","S":"AAPL","bx":"U","bp":87.66,"bs":1,"ax":"Q","ap":87.68,"as":4,"c":["R"],"t":"2021-02-22T15:51:45.335689322Z","z":"C"}]',
    b'[{"T":"b","S":"AAPL","o":126.1,"h":126.7,"l":126,"c":126.55,"v":1200,"t":"2021-02-22T15:51:00Z","n":12,"vw":126.345678}]',
    b'[{"T":"u","S":"AAPL","o":126.1,"h":126.7,"l":126,"c":126.55,"v":1300,"t":"2021-02-22T15:51:00Z","n":13,"vw":126.35}]',
    b'[{"T":"c","S":"AAPL","x":"D","oi":96921,"op":126.55,"os":1,"oc":["@"],"ci":96930,"cp":126.45,"cs":2,"cc":["@"],"z":"C","t":"2021-02-22T15:55:44Z"}]',
    b'[{"T":"x","S":"AAPL","i":96922,"x":"D","p":126.6,"s":200,"a":"C","z":"C","t":"2021-02-22T15:56:44Z"}]',
    b'[{"T":"s","S":"AAPL","sc":"H","sm":"Trading Halt","rc":"T12","rm":"","t":"2021-02-22T19:15:00.000000000Z","z":"A"}]',
    b'[{"T":"error","code":406,"msg":"connection limit exceeded"}]',
)  # fmt: skip
