"""Kafka brokers run by AlphaPulse itself, so that one machine needs no servers."""
