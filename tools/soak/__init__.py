"""A soak: strategies trade through scripted chaos, and at the end venue and engine agree on everything."""
