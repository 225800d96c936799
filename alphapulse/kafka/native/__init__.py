"""Clients on librdkafka (confluent-kafka) with the part of aiokafka's interface that we use."""
