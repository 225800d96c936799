"""Replay of a recording as its venue, over the venue's protocol on loopback; one process per recording.

``python -m producers.replay FILE`` answers the ordinary collector as the venue would and sends it the recorded frames,
byte for byte and in order.
"""
