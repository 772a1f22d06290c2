"""Evaluation: generation, metrics, tables. Never imports the train loop."""
