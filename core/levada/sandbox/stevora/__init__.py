"""A Stevora of our own: its API over a deterministic world."""
