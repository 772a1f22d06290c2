"""The training engine: mesh, state, optimizers, losses, checkpoints and the one train loop."""
