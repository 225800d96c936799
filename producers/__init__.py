"""Collectors: a venue's feed in, records on topics out."""
