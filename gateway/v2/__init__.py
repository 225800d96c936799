"""The stream's protocol, version 2: lists and patterns, pace, recovery, encodings (docs/stream.md).

:mod:`~gateway.v2.messages` and :mod:`~gateway.v2.requests` define what is sent both ways, :mod:`~gateway.v2.encoding`
turns messages into bytes, :mod:`~gateway.v2.feed` is the base of the feeds, :mod:`~gateway.v2.streams` holds all of
them and takes the hub's records, :mod:`~gateway.v2.session` is one client.
"""
