"""A local dYdX v4: node and indexer over one simulated chain."""
