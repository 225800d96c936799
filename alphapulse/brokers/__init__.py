"""Engines that run inside AlphaPulse's own processes, so that one machine needs no servers: the Kafka broker."""
