"""Sockets, REST client and rate limiters for connections to venues."""
