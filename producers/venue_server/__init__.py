"""Server side of the venues' protocols, used by the replay and the simulators on loopback.

A :class:`~producers.venue_server.session.VenueSession` is the state of one client (pure); a
:class:`~producers.venue_server.listener.Listener` is the port that clients connect to. Collectors never import this
package.
"""
