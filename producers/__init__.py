"""Producers: collectors that publish venues' market data, and the recorder, replay and simulator of venues."""
