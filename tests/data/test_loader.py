"""Rows as a model gets them, and batches by step whoever reads them."""

import dataclasses
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.data.loader import BatchSource, prefetch
from flan_jax.data.plan import Plan, PlanConfig, TaskTable
from flan_jax.data.records import RECORDS, Example, Unit, UnitSpec, write_unit
from flan_jax.errors import DataError
from flan_jax.instructions.draws import RenderingKey
from flan_jax.models.framing import Framing, shift_right, trim
from flan_jax.models.layouts import EncoderDecoder, OneSequence

EOS = 1
FRAMING = Framing(pad_id=0, eos_id=EOS, start_id=0)
LAYOUT, SEQUENCE = EncoderDecoder(FRAMING), OneSequence(FRAMING)
CONFIG = PlanConfig(inputs_length=24, targets_length=10, batch_size=6, seed=1)
PACKED_KEYS = {"encoder_positions", "decoder_positions"}
KEYS = {
    "encoder_input_tokens",
    "encoder_segment_ids",
    "decoder_segment_ids",
    "decoder_input_tokens",
    "decoder_target_tokens",
    "decoder_loss_weights",
}


def make_example(inputs, targets, example_id="x", counted=None):
    return Example(
        id=example_id,
        template="t0",
        inputs=np.array(inputs, np.int32),
        targets=np.array(targets, np.int32),
        prompt="",
        target="",
        counted=None if counted is None else np.array(counted, np.int32),
    )


# Rows


def test_two_examples_side_by_side():
    rows = [[make_example([11, 12, EOS], [21, EOS]), make_example([13, EOS], [22, 23, EOS])]]
    batch = LAYOUT.rows(rows, 7, 6, packed=True)
    assert set(batch) == KEYS | PACKED_KEYS
    assert all(array.dtype == np.int32 for array in batch.values())
    assert {name: array[0].tolist() for name, array in batch.items()} == {
        "encoder_input_tokens": [11, 12, EOS, 13, EOS, 0, 0],
        "encoder_segment_ids": [1, 1, 1, 2, 2, 0, 0],
        "encoder_positions": [0, 1, 2, 0, 1, 0, 0],
        "decoder_target_tokens": [21, EOS, 22, 23, EOS, 0],
        "decoder_input_tokens": [0, 21, 0, 22, 23, 0],
        "decoder_segment_ids": [1, 1, 2, 2, 2, 0],
        "decoder_positions": [0, 1, 0, 1, 2, 0],
        "decoder_loss_weights": [1, 1, 1, 1, 1, 0],
    }


def test_unpacked_rows_are_one_segment_each():
    rows = [[make_example([11, EOS], [21, EOS])], [make_example([12, 13, EOS], [EOS])], []]
    batch = LAYOUT.rows(rows, 4, 3, packed=False)
    assert set(batch) == KEYS
    assert batch["encoder_input_tokens"].tolist() == [
        [11, EOS, 0, 0],
        [12, 13, EOS, 0],
        [0, 0, 0, 0],
    ]
    assert batch["decoder_input_tokens"].tolist() == [[0, 21, 0], [0, 0, 0], [0, 0, 0]]
    assert batch["decoder_loss_weights"].tolist() == [[1, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert batch["encoder_segment_ids"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]]
    assert batch["decoder_segment_ids"].tolist() == [[1, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert LAYOUT.count_tokens(batch) == 2 + 3 + 2 + 1


def test_another_padding_token():
    layout = EncoderDecoder(Framing(pad_id=9, eos_id=EOS, start_id=9))
    batch = layout.rows([[make_example([5, EOS], [0, EOS])]], 3, 3, packed=True)
    assert batch["encoder_input_tokens"].tolist() == [[5, EOS, 9]]
    assert batch["decoder_target_tokens"].tolist() == [[0, EOS, 9]]
    assert batch["decoder_input_tokens"].tolist() == [[9, 0, 9]]
    assert batch["decoder_segment_ids"].tolist() == [[1, 1, 0]]
    # A token 0 that is no padding is counted and trained on.
    assert batch["decoder_loss_weights"].tolist() == [[1, 1, 0]]
    assert LAYOUT.count_tokens(batch) == 4


@pytest.mark.parametrize(
    "tokens, length, expected",
    [
        ([5, 6, EOS], 3, [5, 6, EOS]),
        ([5, 6, EOS], 4, [5, 6, EOS]),
        ([5, 6, EOS], 2, [5, EOS]),
        ([5, 6, EOS], 1, [EOS]),
        ([5, 6, 7], 2, [5, 6]),  # a task whose features have no EOS
        ([], 2, []),
    ],
)
def test_a_cut_sequence_keeps_its_eos(tokens, length, expected):
    found = trim(np.array(tokens, np.int32), length, EOS)
    assert found.tolist() == expected and found.dtype == np.int32


def test_shift_right():
    assert shift_right(np.array([5, 6, EOS]), 0).tolist() == [0, 5, 6]
    assert shift_right(np.array([EOS]), 0).tolist() == [0]


def test_an_example_without_targets_takes_no_place_among_them():
    rows = [[make_example([5], []), make_example([6], [7, EOS])]]
    batch = LAYOUT.rows(rows, 3, 3, packed=True)
    assert batch["decoder_segment_ids"].tolist() == [[2, 2, 0]]
    assert batch["decoder_input_tokens"].tolist() == [[0, 7, 0]]


def test_a_decoder_reads_prompt_and_answer_in_one_sequence():
    rows = [[make_example([11, 12, EOS], [21, EOS]), make_example([13, EOS], [22, 23, EOS])]]
    batch = SEQUENCE.rows(rows, 7, 5, packed=True)
    # Positions that a loss counts, and up to the five that there may be, others of no weight.
    positions = batch.pop("decoder_loss_positions")
    assert positions.dtype == np.int32 and positions.tolist() == [[3, 4, 7, 8, 9]]
    assert all(array.dtype == np.int32 and array.shape == (1, 12) for array in batch.values())
    assert {name: array[0].tolist() for name, array in batch.items()} == {
        "decoder_target_tokens": [11, 12, EOS, 21, EOS, 13, EOS, 22, 23, EOS, 0, 0],
        "decoder_input_tokens": [0, 11, 12, EOS, 21, 0, 13, EOS, 22, 23, 0, 0],
        "decoder_loss_weights": [0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0, 0],
        "decoder_causal_attention": [1, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 0],
        "decoder_segment_ids": [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 0, 0],
        "decoder_positions": [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 0],
    }
    assert SEQUENCE.count_tokens(batch) == 10
    alone = SEQUENCE.rows([rows[0][:1]], 2, 2, packed=False)
    assert alone["decoder_target_tokens"].tolist() == [[11, EOS, 21, EOS]]  # each is cut alone
    assert "decoder_positions" not in alone and SEQUENCE.count_tokens(alone) == 4


def test_of_a_conversation_only_the_turns_that_count_have_a_loss():
    turns = make_example([11, EOS], [21, EOS, 31, 32, 22, EOS], counted=[1, 1, 0, 0, 1, 1])
    whole = make_example([12, EOS], [23, EOS])
    rows, packed = [[turns, whole]], SEQUENCE.rows([[turns, whole]], 6, 8, packed=True)
    assert packed["decoder_loss_weights"].tolist() == [[0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0]]
    targets = SEQUENCE.targets(packed)
    assert np.asarray(targets.tokens_BxT)[np.asarray(targets.counted_BxT) > 0].tolist() == [
        21, EOS, 22, EOS, 23, EOS,
    ]  # fmt: skip
    sides = LAYOUT.rows(rows, 4, 8, packed=True)
    assert sides["decoder_loss_weights"].tolist() == [[1, 1, 0, 0, 1, 1, 1, 1]]
    # Cut within a turn that does not count: no EOS stands there as if somebody had ended.
    cut = LAYOUT.rows([[turns]], 2, 4, packed=False)
    assert cut["decoder_target_tokens"].tolist() == [[21, EOS, 31, 32]]
    assert cut["decoder_loss_weights"].tolist() == [[1, 1, 0, 0]]


def test_rows_with_more_answers_than_have_logits_are_refused():
    answer = make_example([11], [21, 22, EOS])
    with pytest.raises(ValueError, match="answers of a row have more than 4 tokens"):
        SEQUENCE.rows([[answer, answer]], 8, 4, packed=True)


def test_a_decoder_row_is_what_seqio_makes_of_the_same_example():
    import seqio
    import tensorflow as tf

    example = make_example([11, 12, EOS], [21, EOS])
    dataset = tf.data.Dataset.from_tensors({"inputs": example.inputs, "targets": example.targets})
    converter = seqio.PrefixLMFeatureConverter(pack=False)
    expected = next(converter(dataset, {"inputs": 6, "targets": 4}).as_numpy_iterator())
    batch = SEQUENCE.rows([[example]], 6, 4, packed=False)
    assert set(batch) - set(expected) == {"decoder_segment_ids", "decoder_loss_positions"}
    for name in set(batch) & set(expected):  # SeqIO shifts into the padding, where nothing counts
        values = batch[name]
        assert values[0, :5].tolist() == expected[name][:5].tolist(), name
    assert not batch["decoder_loss_weights"][0, 5:].any()


# Batches


def write_tasks(root, counts, renderings=1, longest=(30, 14)):
    """Units of tasks a, b, ... with random tokens; some are longer than a row."""
    units = []
    for task, count in enumerate(counts):
        name = "abcdefgh"[task]
        rng = np.random.Generator(np.random.Philox(1000 * task + count))
        of_task = []
        for number in range(renderings):
            spec = UnitSpec(name, "train", RenderingKey(0, number), "recipe", "vocabulary")
            examples = [
                make_example(
                    [*rng.integers(2, 99, rng.integers(0, longest[0])), EOS],
                    [*rng.integers(2, 99, rng.integers(0, longest[1])), EOS],
                    f"{name}/{i}",
                )
                for i in range(count)
            ]
            write_unit(spec, str(root), examples)
            of_task.append(Unit(spec, str(root)))
        units.append(tuple(of_task))
    return tuple(units)


def plan_of(units, config=CONFIG):
    tables = [
        TaskTable(
            name=of_task[0].spec.task,
            lengths_RxNx2=np.stack([unit.lengths for unit in of_task]),
            ids=of_task[0].ids,
            fingerprint="",
        )
        for of_task in units
    ]
    return Plan(tables, {table.name: table.count for table in tables}, config)


@pytest.fixture(scope="module")
def units(tmp_path_factory):
    return write_tasks(tmp_path_factory.mktemp("records"), (13, 40, 1), renderings=2)


def source_of(units, steps=50, rows=None, **changes):
    config = dataclasses.replace(CONFIG, **changes)
    layout = SEQUENCE if config.layout == "decoder" else LAYOUT
    return BatchSource(plan_of(units, config), units, layout, steps, rows)


def assert_equal(one, two):
    assert (one.step, one.digest, one.examples) == (two.step, two.digest, two.examples)
    assert one.arrays.keys() == two.arrays.keys()
    for name, array in one.arrays.items():
        assert np.array_equal(array, two.arrays[name]), name


def examples_in(batch):
    """(input tokens, target tokens) of every example, told apart by segments."""
    found = []
    for row in range(len(batch["encoder_input_tokens"])):
        count = max(
            batch["encoder_segment_ids"][row].max(), batch["decoder_segment_ids"][row].max()
        )
        for segment in range(1, count + 1):
            here = [batch[f"{side}_segment_ids"][row] == segment for side in ("encoder", "decoder")]
            inputs = batch["encoder_input_tokens"][row][here[0]]
            targets = batch["decoder_target_tokens"][row][here[1]]
            assert batch["encoder_positions"][row][here[0]].tolist() == list(range(len(inputs)))
            assert batch["decoder_positions"][row][here[1]].tolist() == list(range(len(targets)))
            shifted = batch["decoder_input_tokens"][row][here[1]]
            assert shifted.tolist() == [0, *targets[:-1]]
            found.append((tuple(inputs.tolist()), tuple(targets.tolist())))
    return found


def trimmed_examples(units, rendering, config):
    return [
        tuple(
            tuple(trim(tokens, length, EOS).tolist())
            for tokens, length in (
                (example.inputs, config.inputs_length),
                (example.targets, config.targets_length),
            )
        )
        for of_task in units
        for example in of_task[rendering]
    ]


def test_an_epoch_holds_the_tokens_of_every_example(units):
    """Rows of one at a time, so that a batch ends where the epoch does."""
    source = source_of(units, steps=200, batch_size=1)
    plan = source._plan
    for epoch in range(3):
        steps = range(plan.rows_before(epoch), plan.rows_before(epoch + 1))
        batches = [source[step] for step in steps]
        found = [example for batch in batches for example in examples_in(batch.arrays)]
        assert sorted(found) == sorted(trimmed_examples(units, epoch % 2, CONFIG))
        assert sum(batch.examples for batch in batches) == 54
        tokens = sum(len(inputs) + len(targets) for inputs, targets in found)
        assert sum(LAYOUT.count_tokens(batch.arrays) for batch in batches) == tokens
        stats = plan.stats(epoch)
        positions = stats.rows * (
            stats.inputs_fill * CONFIG.inputs_length + stats.targets_fill * CONFIG.targets_length
        )
        assert tokens == pytest.approx(positions)


@settings(max_examples=15, deadline=None)
@given(
    inputs_length=st.integers(1, 40),
    targets_length=st.integers(1, 20),
    batch_size=st.integers(1, 9),
    window=st.integers(1, 60),
)
def test_any_layout_holds_every_example(units, inputs_length, targets_length, batch_size, window):
    changes = {
        "inputs_length": inputs_length,
        "targets_length": targets_length,
        "batch_size": batch_size,
        "window": window,
    }
    source = source_of(units, steps=1000, **changes)
    rows = source._plan.rows_before(2)
    found = [e for step in range(-(-rows // batch_size)) for e in examples_in(source[step].arrays)]
    config = dataclasses.replace(CONFIG, **changes)
    expected = [*trimmed_examples(units, 0, config), *trimmed_examples(units, 1, config)]
    assert sorted(found[: len(expected)]) == sorted(expected)


@settings(max_examples=10, deadline=None)
@given(inputs_length=st.integers(1, 40), targets_length=st.integers(1, 20), packs=st.booleans())
def test_decoder_rows_hold_every_example(units, inputs_length, targets_length, packs):
    changes = {
        "inputs_length": inputs_length, "targets_length": targets_length,
        "batch_size": 3, "window": 30, "layout": "decoder", "packing": packs,
    }  # fmt: skip
    source = source_of(units, steps=1000, **changes)
    rows = source._plan.rows_before(1)
    found = []
    for step in range(-(-rows // 3)):
        batch = source[step].arrays
        segments = batch["decoder_segment_ids"]
        for row in range(3):
            for segment in range(1, segments[row].max() + 1):
                here = segments[row] == segment
                tokens = batch["decoder_target_tokens"][row][here]
                answer = batch["decoder_loss_weights"][row][here] > 0
                found.append((tuple(tokens[~answer].tolist()), tuple(tokens[answer].tolist())))
        # No answer goes without its loss for want of a position.
        assert batch["decoder_loss_positions"].shape == (3, targets_length)
        assert SEQUENCE.targets(batch).counted_BxT.sum() == batch["decoder_loss_weights"].sum()
    expected = trimmed_examples(units, 0, dataclasses.replace(CONFIG, **changes))
    assert sorted(found[: len(expected)]) == sorted(expected)
    stats = source._plan.stats(0)
    tokens = sum(len(one) + len(two) for one, two in expected)
    filled = (stats.inputs_fill + stats.targets_fill) * (inputs_length + targets_length)
    assert tokens == pytest.approx(stats.rows * filled)


def test_unpacked_batches(units):
    source = source_of(units, packing=False, batch_size=9)
    batches = [source[step].arrays for step in range(6)]
    assert all(set(batch) == KEYS for batch in batches)
    tokens = np.concatenate([batch["encoder_input_tokens"] for batch in batches])
    found = sorted(tuple(row[row > 0].tolist()) for row in tokens)
    assert found == sorted(inputs for inputs, _ in trimmed_examples(units, 0, CONFIG))
    assert source[0].examples == 9


@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("hosts", [2, 3, 6])
def test_hosts_together_have_the_whole_batch(units, hosts, packs):
    whole = source_of(units, packing=packs)
    per_host = CONFIG.batch_size // hosts
    slices = [slice(i * per_host, (i + 1) * per_host) for i in range(hosts)]
    sources = [source_of(units, rows=rows, packing=packs) for rows in slices]
    for step in (0, 1, 9, 30):
        expected, parts = whole[step], [source[step] for source in sources]
        for name, array in expected.arrays.items():
            together = np.concatenate([part.arrays[name] for part in parts])
            assert np.array_equal(together, array), name
        # Every host knows what all of them train on.
        assert {part.digest for part in parts} == {expected.digest}
        assert {part.examples for part in parts} == {expected.examples}


@pytest.mark.parametrize("start", [0, 1, 37, 49])
def test_prefetching_from_a_step_is_indexing_from_it(units, start):
    source = source_of(units)
    found = list(prefetch(source_of(units), start))
    assert [batch.step for batch in found] == list(range(start, 50))
    for batch in found:
        assert_equal(batch, source[batch.step])


def test_nothing_is_left_after_the_last_step(units):
    assert list(prefetch(source_of(units), 50)) == []


def test_a_plan_may_be_asked_while_batches_are_read_ahead(units):
    """The main thread looks at figures and steps of the plan that the prefetch thread uses."""
    source, other = source_of(units, batch_size=5), source_of(units, batch_size=5)
    for batch in prefetch(source, 0, buffer=8):
        source._plan.stats(epoch=batch.step % 7)
        source._plan.batch_digest((batch.step * 13) % 50)
        assert_equal(batch, other[batch.step])


def test_a_damaged_record_ends_prefetching_with_its_error(tmp_path):
    """As an error for people, not as one of the library that reads ahead."""
    units = write_tasks(tmp_path, (5,))
    other = write_tasks(tmp_path / "other", (5,), longest=(31, 14))
    path = pathlib.Path(units[0][0].folder) / RECORDS
    replacement = pathlib.Path(other[0][0].folder) / RECORDS
    assert path.stat().st_size == replacement.stat().st_size
    path.write_bytes(replacement.read_bytes())
    units = ((Unit(units[0][0].spec, str(tmp_path)),),)
    with pytest.raises(DataError, match="does not match its checksum"):
        list(prefetch(source_of(units), 0))


def test_units_of_other_tasks_than_the_plans_are_refused(units):
    """Tables are sorted by name; units in another order would be read for one another."""
    plan = plan_of(units)
    with pytest.raises(ValueError, match="not those of the plan's tables"):
        BatchSource(plan, units[::-1], LAYOUT, 3)
    with pytest.raises(ValueError, match="not those of the plan's tables"):
        BatchSource(plan, units[:2], LAYOUT, 3)
