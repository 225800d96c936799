"""The venues, one package each, found by :mod:`producers.registry`; nothing outside imports one by its name."""
