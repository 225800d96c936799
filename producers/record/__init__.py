"""Recording what venues send, as it comes, for :mod:`producers.replay` to play again.

The ordinary collector connects, subscribes, fetches and reconnects; each frame and REST answer is written before its
protocol looks at it, and nothing is published: ``tape.py`` keeps the files, ``recorder.py`` does the rest.
"""
