# ruff: noqa: E501 frames in one line, as they come
"""One of each message; see :mod:`tests.fixtures.venue_samples`."""

from __future__ import annotations

from alphapulse.config import VenueSettings

SETTINGS = VenueSettings(symbols=("BTC-USDT",))
FRAMES = (
    b'{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"snapshot","data":[{"asks":[["8476.98","415","0","13"]],"bids":[["8476.97","256","0","12"]],"ts":"1597026383085","checksum":0,"prevSeqId":-1,"seqId":123456}]}',
    b'{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[["8476.98","0","0","0"],["8477","7","0","2"]],"bids":[],"ts":"1597026383185","checksum":0,"prevSeqId":123456,"seqId":123460}]}',
    b'{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[],"bids":[],"ts":"1597026443185","checksum":0,"prevSeqId":123460,"seqId":123460}]}',
    b'{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"130639474","px":"42219.9","sz":"0.12060306","side":"buy","ts":"1630048897897","count":"3","source":"0","seqId":1234}]}',
    b'{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"130639475","px":"42219.9","sz":"0.1","side":"buy","ts":"1630048897897"},{"instId":"BTC-USDT","tradeId":"130639476","px":"42219.8","sz":"0.2","side":"sell","ts":"1630048897898"}]}',
    b'{"event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT"},"connId":"a4d3ae55"}',
    b'{"event":"error","code":"60012","msg":"Illegal request","connId":"a4d3ae55"}',
    b'{"event":"notice","code":"64008","msg":"The connection will soon be closed for a service upgrade.","connId":"a4d3ae55"}',
    b"pong",
)  # fmt: skip
