"""Benches: each prints its figures side by side with what it is compared to."""
