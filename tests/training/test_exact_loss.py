"""The loss is the mean over the answers' tokens, however examples are laid out and computed.

What it is compared with is each example alone in a row of its own, its gradient of the plain sum,
added up and divided by the number of answer tokens. docs/loss.md says which faults of other
trainers each test would find.
"""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from flan_jax.models.decoder import DecoderConfig
from flan_jax.models.families import Model
from flan_jax.models.framing import Framing
from flan_jax.models.layouts import EncoderDecoder, OneSequence
from flan_jax.models.sharding import axis_rules
from flan_jax.models.t5 import T5Config
from flan_jax.training import mesh as mesh_lib
from flan_jax.training import state as state_lib
from flan_jax.training.losses import Loss

PAD, EOS, BOS, ROWS = 0, 1, 2, 8
SUM = Loss(normalizing_factor=None)
# Of the difference to the gradient, both as vectors in float32: on one device, and on eight, whose
# sums are taken in other orders by code that is not optimized.
EXACT, EXACT_ON_MESHES = 1e-6, 2e-6
MODELS = {
    "t5": (
        Model(T5Config(vocab_size=48, emb_dim=16, num_heads=2, head_dim=8, num_encoder_layers=2,
                       num_decoder_layers=2, mlp_dim=32)),
        EncoderDecoder(Framing(PAD, EOS, start_id=PAD)),
    ),
    # Windows end within a row's examples, and heads share keys.
    "decoder": (
        Model(DecoderConfig(vocab_size=48, emb_dim=16, num_layers=2, num_heads=2, num_kv_heads=1,
                            head_dim=8, mlp_dim=32, window=4, global_every=2)),
        OneSequence(Framing(PAD, EOS, bos_id=BOS)),
    ),
}  # fmt: skip
FAMILIES = pytest.mark.parametrize("family", MODELS)
pytestmark = pytest.mark.usefixtures("compiled_as_users_have_it")


def examples_of(count: int = 8, seed: int = 0):
    """Prompts and answers of very different lengths; answers end in EOS, as records have them."""
    rng = np.random.default_rng(seed)
    lengths = [(3, 1), (9, 7), (2, 4), (6, 1), (4, 2), (8, 5), (5, 3), (7, 6)]
    return [
        SimpleNamespace(
            inputs=rng.integers(3, 48, inputs).astype(np.int32),
            targets=np.append(rng.integers(3, 48, targets), EOS).astype(np.int32),
            counted=None,
        )
        for inputs, targets in lengths[:count]
    ]


class Case:
    """A model, its layout, and gradients compiled once for each shape."""

    def __init__(self, family):
        self.model, self.layout = MODELS[family]
        self.params = self.model.init(jax.random.key(0))
        self._compiled = {}

    def gradient(self, rows, inputs=40, targets=32, packed=True, **how):
        """Returns the gradient of examples laid out in eight rows, flat, and the sums."""
        rows = [*rows, *[[]] * (ROWS - len(rows))]
        return self.of_batch(self.layout.rows(rows, inputs, targets, packed=packed), **how)

    def of_batch(self, batch, loss=None, microbatches=1):
        """Returns the gradient of a batch, flat, and the sums."""
        recipe = state_lib.StepRecipe(self.model, None, loss or Loss(), microbatches)
        compiled = self._compiled.setdefault(
            (loss, microbatches), jax.jit(lambda p, b: state_lib.loss_gradients(p, b, None, recipe))
        )
        gradients, sums = compiled(self.params, batch)
        return flat(gradients), sums

    def reference(self, examples):
        """Returns the sum over examples, each alone, over the number of answer tokens."""
        alone = [
            self.of_batch(self.layout.rows([[one]], 16, 16, packed=False), loss=SUM)
            for one in examples
        ]
        count = sum(len(one.targets) for one in examples)
        loss = sum(float(sums.loss) for _, sums in alone) / count
        return sum(gradient for gradient, _ in alone) / count, loss, count


def flat(gradients):
    """Returns a gradient as one vector in float64."""
    return np.concatenate([np.ravel(gradients[name]) for name in sorted(gradients)]).astype(float)


def apart(gradient, reference):
    """Returns by how much of the reference's length a gradient differs from it."""
    return np.linalg.norm(gradient - reference) / np.linalg.norm(reference)


@pytest.fixture(scope="module")
def cases():
    made = {}

    def case(family):
        return made.setdefault(family, Case(family))

    return case


def in_rows(examples, sizes):
    """Puts examples side by side, so many in each row."""
    waiting = iter(examples)
    return [[next(waiting) for _ in range(size)] for size in sizes]


@FAMILIES
def test_one_gradient_whatever_the_layout(cases, family):
    case, examples = cases(family), examples_of()
    reference, loss, count = case.reference(examples)
    packed = in_rows(examples, (3, 1, 2, 2))
    layouts = {
        "padded": ([[one] for one in examples], {}),
        "padded far": ([[one] for one in examples], {"inputs": 64, "targets": 48}),
        "packed": (packed, {}),
        "packed, another order": (in_rows(examples[::-1], (1, 3, 3, 1)), {}),
        "rows in another order": (packed[::-1], {}),
        # What a window or an epoch ends with: rows that nothing is in.
        "rows that nothing is in": ([[], *packed, [], []], {}),
        "in chunks": (packed, {"loss": Loss(chunk=8)}),
        "in chunks that do not divide a row": (packed, {"loss": Loss(chunk=5)}),
        # Of different numbers of tokens, and some of none: a mean of means would be far off.
        "2 microbatches": (packed, {"microbatches": 2}),
        "8 microbatches": (packed, {"microbatches": 8}),
    }
    for name, (rows, how) in layouts.items():
        gradient, sums = case.gradient(rows, **how)
        assert apart(gradient, reference) < EXACT, name
        # EOS of each example is one of the tokens that count.
        assert int(sums.tokens) == count == 37, name
        assert float(sums.loss) / count == pytest.approx(loss, rel=1e-6), name


@FAMILIES
def test_what_would_be_wrong_is_far_off(cases, family):
    """The faults of others move the gradient by thousands of times what passes above."""
    case, examples = cases(family), examples_of()
    reference, _, _ = case.reference(examples)
    rows = in_rows(examples, (3, 1, 2, 2))

    def off(gradient):
        return apart(gradient, reference) / EXACT

    # The mean of the means of microbatches, or of devices.
    means = [case.gradient(rows[at : at + 2])[0] for at in (0, 2)]
    assert off((means[0] + means[1]) / 2) > 1e4
    # The mean of the means of examples.
    each = [case.gradient([[one]])[0] for one in examples]
    assert off(sum(each) / len(each)) > 1e4
    # EOS left out.
    batch = case.layout.rows([*rows, *[[]] * (ROWS - len(rows))], 40, 32, packed=True)
    weights = batch["decoder_loss_weights"] * (batch["decoder_target_tokens"] != EOS)
    assert batch["decoder_loss_weights"].sum() - weights.sum() == len(examples)
    assert off(case.of_batch({**batch, "decoder_loss_weights": weights})[0]) > 1e4
    # Examples that see each other.
    segments = [name for name in batch if "segment" in name]
    mixed = {**batch, **{name: np.minimum(batch[name], 1) for name in segments}}
    assert off(case.of_batch(mixed)[0]) > 1e4


@FAMILIES
def test_nothing_leaks_between_examples_of_a_row(cases, family):
    """Whatever its neighbours are, an example's gradient is the same to the bit."""
    case, examples = cases(family), examples_of()
    strangers = examples_of(seed=1)
    neighbours = [examples[:3], [strangers[0], examples[1], strangers[2]]]

    def of_the_second(row):
        """The gradient of a row's second example, whose neighbours are read all the same."""
        batch = case.layout.rows([row, *[[]] * (ROWS - 1)], 40, 32, packed=True)
        weights = batch["decoder_loss_weights"] * (batch["decoder_segment_ids"] == 2)
        return case.of_batch({**batch, "decoder_loss_weights": weights})[0]

    first, second = map(of_the_second, neighbours)
    assert np.array_equal(first, second)
    # The rounding of one example has none of the others' to cancel it.
    assert apart(first, case.reference([examples[1]])[0]) < 2 * EXACT


@FAMILIES
def test_every_answer_token_counts_once_in_an_epoch(cases, family):
    """Steps of different size: each is the mean over its own tokens, and together they are all."""
    case, examples = cases(family), examples_of()
    rows = in_rows(examples, (3, 1, 2, 2))
    _, whole = case.gradient(rows)
    parts = [case.gradient(some)[1] for some in (rows[:3], rows[3:])]
    assert sum(float(part.tokens) for part in parts) == float(whole.tokens)
    assert sum(float(part.loss) for part in parts) == pytest.approx(float(whole.loss), rel=1e-6)


def gradients_on_meshes():
    """Prints how far gradients on eight devices are from those of each example alone."""
    found = {}
    for family in MODELS:
        case, examples = Case(family), examples_of()
        reference, _, _ = case.reference(examples)
        # Devices have different numbers of answer tokens, and some have none.
        rows = [*in_rows(examples, (3, 1, 2, 2)), *[[]] * 4]
        batch = case.layout.rows(rows, 40, 32, packed=True)
        recipe = state_lib.StepRecipe(case.model, None, Loss(chunk=8))
        for preset in ("data", "fsdp", "data_fsdp_tensor"):
            mesh = mesh_lib.make_mesh(preset)
            placed = mesh_lib.place_batch(batch, mesh, len(rows))
            shardings = mesh_lib.parameter_shardings(case.model.axes, case.model.shapes, mesh)
            params = jax.tree.map(jax.device_put, case.params, shardings)
            with axis_rules(mesh, mesh_lib.RULES):
                gradients, _ = jax.jit(
                    lambda p, b, recipe=recipe: state_lib.loss_gradients(p, b, None, recipe)
                )(params, placed)
            found[f"{family}/{preset}"] = apart(flat(jax.device_get(gradients)), reference)
    print(json.dumps(found))


def test_one_gradient_on_every_mesh():
    flags = "--xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, __file__],
        env={**os.environ, "XLA_FLAGS": flags, "NPROC": "32"},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 6 and max(found.values()) < EXACT_ON_MESHES, found


if __name__ == "__main__":
    gradients_on_meshes()
