"""The store: the append-only log of entries, and the tables derived from it. Nothing heavy loads with this package."""
