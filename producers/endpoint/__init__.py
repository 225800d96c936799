"""The venue's end of its protocol, as the replay and the simulators serve it on loopback.

A :class:`~producers.endpoint.session.Session` is one client's conversation with a venue (pure); a
:class:`~producers.endpoint.listener.Listener` is the port it comes in by. Collectors never import this package.
"""
