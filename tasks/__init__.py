"""What is learned: one module a collection of tasks. Imports SeqIO and the kit, never jax."""
