"""``make kills``: sinks killed at any moment under full load, and all they stored compared with its source."""
