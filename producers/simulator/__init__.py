"""Simulated venues: one seeded market, served over each venue's protocol on loopback.

``python -m producers.simulator`` needs no network and no keys; ``make demo`` runs on it.
"""
