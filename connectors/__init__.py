"""Trading connectors: the framework that every venue shares, and the venues. Knows no shared memory."""
