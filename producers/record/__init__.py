"""Recorder for venues' frames, as input of :mod:`producers.replay`.

The ordinary collector connects, subscribes, fetches and reconnects; each frame and REST answer is written before it is
parsed, and nothing is published. ``tape.py`` writes the files, ``recorder.py`` does the rest.
"""
