"""Every service restarted under load, one after the other: what that does to books, rows and clients."""
