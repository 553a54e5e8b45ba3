"""A Kapso of our own: its API over a deterministic world."""
