"""A published family a module: its `config.json`, both ways, and its table of tensors.

Each module has what `interop.published.PublishedFamily` asks for.
"""
