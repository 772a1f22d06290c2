"""Anybody's predictions: read, matched with references, scored, summarised, tabled; without JAX."""
