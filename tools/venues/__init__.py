"""Simulated exchanges that speak the real protocols over loopback sockets."""
