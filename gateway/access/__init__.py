"""Access to the gateway: who a client is and what it may see."""
