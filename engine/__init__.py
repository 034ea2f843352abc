"""The engine joins connectors to shared memory: supervisor, gateway, strategies."""
