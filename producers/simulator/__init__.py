"""Simulated venues: one seeded market, served by each venue's own protocol on loopback.

``python -m producers.simulator`` needs no network and no keys; ``make demo`` runs on it.
"""
