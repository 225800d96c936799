"""The venue's end of its protocol, as the replay and the simulators serve it on loopback.

A :class:`~producers.venue_server.session.Session` is one client's conversation with a venue (pure); a
:class:`~producers.venue_server.listener.Listener` is the port it comes in by. Collectors never import this package.
"""
