"""The two releases of Natural Instructions: schemas, encodings of prompts, checks of folders."""
