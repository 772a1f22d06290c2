"""Engines other than the built-in one, on which the same experiments run."""
