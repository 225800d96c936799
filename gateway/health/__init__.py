"""Health of the whole system: services, consumers, venues."""
