"""What T5X itself computes and writes, in a process of its own: python t5x_oracle.py VERB FOLDER.

make: for each network a checkpoint of two steps, its logits, and a checkpoint of a third step.
restore: what T5X restores of FOLDER/exported, and one step from there.
"""

import dataclasses
import os
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import seqio
from flax import traverse_util
from t5x import adafactor, checkpoints, models, optimizers, partitioning, utils
from t5x.examples.decoder_only import network as decoder_network
from t5x.examples.scalable_t5 import network as scalable_network
from t5x.examples.t5 import network
from t5x_batch import LEARNING_RATE, ROWS, batch

# Sizes that Adafactor factors, one of its matrices square.
SIZES = dict(
    vocab_size=160, emb_dim=128, num_heads=2, head_dim=64, num_encoder_layers=2,
    num_decoder_layers=3, mlp_dim=192, mlp_activations=("gelu", "linear"), dropout_rate=0.0,
    dtype="float32",
)  # fmt: skip
OLD = {**SIZES, "mlp_activations": ("relu",), "logits_via_embedding": True}
DECODER = {name: SIZES[name] for name in SIZES if "coder_layers" not in name} | {"num_layers": 2}


def networks():
    scalable = scalable_network
    return {
        "unrolled": network.Transformer(network.T5Config(**SIZES)),
        "old": network.Transformer(network.T5Config(**OLD)),
        "scanned": scalable.Transformer(scalable.T5Config(**SIZES)),
        "own_biases": scalable.Transformer(scalable.T5Config(**SIZES, scan_layers=False)),
        "decoder": decoder_network.DecoderWrapper(decoder_network.TransformerConfig(**DECODER)),
    }


@dataclasses.dataclass
class Trained:
    """A model of T5X with a state to train."""

    module: object
    optimizer: object = None

    def __post_init__(self):
        vocabulary = seqio.ByteVocabulary()
        optimizer = self.optimizer or adafactor.Adafactor(
            decay_rate=0.8,
            step_offset=0,
            logical_factor_rules=adafactor.standard_logical_factor_rules(),
        )
        if isinstance(self.module, decoder_network.DecoderWrapper):
            model = models.DecoderOnlyModel(self.module, vocabulary, optimizer)
        else:
            model = models.EncoderDecoderModel(self.module, vocabulary, vocabulary, optimizer)
        self.model = model
        self.partitioner = partitioning.PjitPartitioner(num_partitions=1)
        self.start = utils.TrainStateInitializer(
            optimizer, model.get_initial_variables, dict.fromkeys(batch(), ROWS), self.partitioner
        )

    def fresh(self):
        return self.start.from_scratch(jax.random.key(0))

    def checkpointer(self, folder):
        os.makedirs(folder, exist_ok=True)
        return checkpoints.Checkpointer(
            self.start.global_train_state_shape, self.partitioner, str(folder)
        )

    def orbax_checkpointer(self, folder):
        os.makedirs(folder, exist_ok=True)
        return checkpoints.OrbaxCheckpointManagerInterface(
            str(folder), self.start.global_train_state_shape, self.partitioner
        )

    def logits(self, state):
        return np.asarray(self.model._compute_logits(state.params, batch()))


def step(state):
    """A step along made-up gradients, which anybody can make from the parameters."""
    gradients = jax.tree.map(lambda value: jnp.sin(100 * value), state.params)
    return state.apply_gradient(gradients, learning_rate=LEARNING_RATE)


def make(folder):
    for name, module in networks().items():
        trained = Trained(module)
        state = step(step(trained.fresh()))
        trained.checkpointer(folder / name).save(state)
        np.save(folder / f"{name}.npy", trained.logits(state))
        if name == "unrolled":
            orbax = trained.orbax_checkpointer(folder / "orbax")
            orbax.save(state)
            orbax.close()
        trained.checkpointer(folder / f"{name}_next").save(step(state))
    trained = Trained(networks()["unrolled"], optimizers.adamw(LEARNING_RATE, weight_decay=0.0))
    state = step(step(trained.fresh()))
    trained.checkpointer(folder / "adamw").save(state)
    trained.checkpointer(folder / "adamw_next").save(step(state))


def restore(folder):
    for name in ("unrolled", "old", "own_biases", "decoder"):
        trained = Trained(networks()[name])
        state = trained.checkpointer(folder).restore(path=str(next((folder / name).iterdir())))
        np.save(folder / f"{name}.npy", trained.logits(state))
        after = step(state)
        params = traverse_util.flatten_dict(after.params, sep="/")
        np.savez(folder / f"{name}_next.npz", step=after.step, **params)


if __name__ == "__main__":
    {"make": make, "restore": restore}[sys.argv[1]](pathlib.Path(sys.argv[2]))
