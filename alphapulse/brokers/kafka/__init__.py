"""Apache Kafka on this machine: installation, configuration, one node or a cluster."""
