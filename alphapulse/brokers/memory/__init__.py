"""In-memory Kafka broker of one node: partition logs, consumer groups, and the required part of Kafka's protocol.

:mod:`~alphapulse.brokers.memory.log` and :mod:`~alphapulse.brokers.memory.groups` do not use sockets;
:mod:`~alphapulse.brokers.memory.fetches` holds fetches until they can be answered;
:mod:`~alphapulse.brokers.memory.node` answers requests, :mod:`~alphapulse.brokers.memory.server` has the sockets.
"""
