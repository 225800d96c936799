"""Shared library of the AlphaPulse services."""
