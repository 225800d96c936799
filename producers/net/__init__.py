"""Sockets, REST requests and rate limits, as collectors use them towards venues."""
