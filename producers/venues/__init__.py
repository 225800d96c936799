"""Venues, one package each, found by :mod:`producers.registry`; nothing else imports one by name."""
