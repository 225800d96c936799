"""Apache Kafka on this machine: installed, configured, run as one node or as a cluster."""
