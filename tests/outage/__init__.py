"""A broker that is killed under load and comes back: how much memory that takes, and when every book is right again."""
