"""Starting one command on many machines: what is told to whom, and what follows when one ends."""
