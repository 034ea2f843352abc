"""Tools on top of the engine: command line, inspector, venues, benches."""
