"""Checkpoints of other libraries. Import the library's own module; this file imports nothing."""
