"""Shared memory: segments, rings, cells, tables, command queues and liveness. Knows no trading."""
