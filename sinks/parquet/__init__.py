"""Parquet target: files by topic and hour, renamed into place before their offsets are committed."""
