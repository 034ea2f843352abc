"""The inspector: reads a segment and shows it, touching nothing."""
