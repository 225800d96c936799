"""An in-memory Kafka broker of one node: partition logs, consumer groups, and the part of Kafka's protocol they need.

:mod:`~alphapulse.embedded.memory.log` and :mod:`~alphapulse.embedded.memory.groups` are free of sockets;
:mod:`~alphapulse.embedded.memory.fetches` holds fetches until there is something to answer;
:mod:`~alphapulse.embedded.memory.node` answers requests, :mod:`~alphapulse.embedded.memory.server` carries them.
"""
