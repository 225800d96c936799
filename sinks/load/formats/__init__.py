"""Vendors' formats, a module each: their columns, times, sides and symbols. :mod:`sinks.load.formats.detection` tells
which one a file has."""
