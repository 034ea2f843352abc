"""One file for each venue: how the suite and the soak start it, trade on it and read its books."""

DEFAULT_VENUE = "hyperliquid"
"""The venue of a soak that names none."""
