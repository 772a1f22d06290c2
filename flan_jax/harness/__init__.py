"""Models of ours behind the interfaces of other evaluation harnesses."""
