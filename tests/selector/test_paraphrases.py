"""Whether instructions that say the same find each other, on all of MiniLab and Super-NI.

Every instruction is a target in turn and its task keeps the other ones; figures are printed
(`pytest -s`). MiniLab's wordings are written to share no phrase, and tasks of one cluster share
their frames, so an encoder that only knows words finds the cluster and seldom the task; what is
asked of it here is what it had when this was written, less a little.
"""

import numpy as np
import pytest

from flan_jax.selector import scoring, vectors
from flan_jax.selector.encoders import LEXICAL, Embedder, _local_default, get_encoder
from flan_jax.selector.library import Library, LibraryTask
from flan_jax.selector.selection import all_instructions
from flan_jax.selector.sources import load_library


def figures(library, encoder):
    """Shares of instructions that rank their own task, or one of its cluster, first."""
    texts = all_instructions(library)
    embedder = Embedder(get_encoder(encoder, texts), keep=False)
    rows = embedder.embed(texts)
    counts = [len(task.instructions) for task in library.tasks]
    owners = np.repeat(np.arange(len(counts)), counts)
    right = cluster = asked = 0
    for i, owner in enumerate(owners):
        if counts[owner] < 2:
            continue
        left = [n - (task == owner) for task, n in enumerate(counts)]
        others = np.delete(rows, i, axis=0)
        scores = scoring.aggregate(
            scoring.Pairs(rows[i : i + 1], others, scoring.starts_of(left)), "mean"
        )
        first = int(scores.argmax())
        asked += 1
        right += first == owner
        cluster += library.tasks[first].cluster == library.tasks[owner].cluster
    return right / asked, cluster / asked


def halves(library):
    """Every definition in two parts, so that one may be looked for by the other."""
    tasks = []
    for task in library.tasks:
        words = task.instructions[0].split(". ")
        if len(words) > 1:
            parts = (". ".join(words[0::2]), ". ".join(words[1::2]))
            tasks.append(LibraryTask(task.name, parts, task.cluster))
    return Library.of(tasks, "halves")


ENCODERS = [
    pytest.param(LEXICAL, 0.15, 0.75, 0.3, id="lexical"),
    pytest.param(None, 0.3, 0.8, 0.5, id="installed"),
]


@pytest.mark.parametrize(("encoder", "least", "least_cluster", "least_halves"), ENCODERS)
def test_paraphrases_find_their_task(shared_data, encoder, least, least_cluster, least_halves):
    if encoder is None and _local_default() is None:
        pytest.skip("no sentence-transformers model on this machine")
    for library, bounds in [
        (load_library("tasks.minilab"), (least, least_cluster)),
        (halves(load_library(f"super_ni:{shared_data}/super_ni")), (least_halves, least_halves)),
    ]:
        right, cluster = figures(library, encoder)
        number = len(library.tasks)
        print(
            f"\n{library.origin}, {encoder}: of {number} tasks the right one first {right:.1%} "
            f"(chance {1 / number:.1%}), its cluster {cluster:.1%}"
        )
        assert right >= bounds[0] and cluster >= bounds[1]


def test_selecting_for_all_p3_targets_takes_seconds(shared_data, tmp_path):
    import time

    from flan_jax.selector.selection import Parameters, Selector, Target

    begun = time.perf_counter()
    library = load_library(f"promptsource:{shared_data}/promptsource")
    embedder = Embedder(get_encoder(LEXICAL, all_instructions(library)), root=str(tmp_path))
    selector = Selector(library, embedder)
    for task in library.tasks:
        selector.select([Target.of_task(task)], Parameters(k=5, bootstrap=0))
    seconds = time.perf_counter() - begun
    print(
        f"\n{len(library.tasks)} targets, {len(all_instructions(library))} texts: {seconds:.1f} s"
    )
    assert embedder.encoded == len(set(all_instructions(library)))
    assert seconds < 60  # the machine may be busy; it takes about five
    again = Embedder(get_encoder(LEXICAL, all_instructions(library)), root=str(tmp_path))
    assert (again.embed(all_instructions(library)) == selector._raw).all()
    assert again.encoded == 0


def test_the_top_of_many_is_found_quickly():
    generator = np.random.default_rng(0)
    matrix = vectors.to_grid(generator.standard_normal((20_000, 384)))
    query = vectors.to_grid(generator.standard_normal((1, 384)))[0]
    rows, cosines = vectors.top_k(matrix, query, 70)
    exact = vectors.cosines(query[None], matrix)[0]
    assert list(rows) == list(np.lexsort((np.arange(len(exact)), -exact))[:70])
    assert (cosines == exact[rows]).all()
