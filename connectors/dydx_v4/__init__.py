"""The connector for dYdX v4 perpetuals."""
