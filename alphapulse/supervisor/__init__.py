"""Supervisor: services as child processes, monitored and restarted."""
