"""The venue replay: a recording served by the venue's own protocol on loopback, one process per recording.

``python -m producers.replay FILE`` answers the ordinary collector as the venue would and sends it the recording's
frames, byte for byte and in order.
"""
