"""The demo: two strategies trade through one gateway on a local venue, and three books are compared at the end."""
