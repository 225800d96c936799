"""An in-memory Kafka broker of one node: partition logs, consumer groups, and the part of Kafka's protocol they need.

:mod:`~alphapulse.brokers.memory.log` and :mod:`~alphapulse.brokers.memory.groups` are free of sockets;
:mod:`~alphapulse.brokers.memory.fetches` holds fetches until there is something to answer;
:mod:`~alphapulse.brokers.memory.node` answers requests, :mod:`~alphapulse.brokers.memory.server` carries them.
"""
