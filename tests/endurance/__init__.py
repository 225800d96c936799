"""The demo under a competing load: what it costs who waits for it. ``watch.py`` looks, ``__main__.py`` tells."""
