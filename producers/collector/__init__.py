"""The collector of one venue: its shards, their connections, and what is published of them."""
