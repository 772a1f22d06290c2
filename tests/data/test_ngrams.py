"""The index of n-grams: equal to a naive one, and blind to what a task puts into every prompt."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.data import ngrams
from flan_jax.data.ngrams import Index
from flan_jax.data.words import Item, Phrasing, hashed, learnt, words


def item(example_id, prompt, target="", template="t0"):
    return Item(example_id, template, hashed(prompt), hashed(target))


def test_words_are_what_stands_between_signs():
    assert words("Don't STOP; it's 3,000_km!") == ["don", "t", "stop", "it", "s", "3", "000", "km"]
    assert words("Cafe\u0301 stra\u00dfe") == words("CAF\u00c9 STRASSE")
    assert words("\u6211\u559c\u6b22 tea") == ["\u6211", "\u559c", "\u6b22", "tea"]
    assert words("\u0939\u093f\u0928\u094d\u0926\u0940") == ["\u0939\u093f\u0928\u094d\u0926\u0940"]
    assert words(" \t?! ") == [] and len(hashed("")) == 0
    # The same in every process and on every machine: parts of unfinished runs go on.
    assert hashed("tea").tolist() == [10431608578837538234]


SPECIAL = "Say in one word what the following text is about: "


def test_phrasing_is_what_examples_of_a_template_share():
    own = ["the cat sat", "the dog ran off", "some bird sang", "a whale swam", "the end", "no"]
    items = [item(str(i), f"{SPECIAL}{text}. Answer: yes or no?") for i, text in enumerate(own)]
    phrasing, everything = learnt(items)
    for text, one in zip(own, everything, strict=True):
        mask = phrasing.own("t0", one.prompt)
        assert one.prompt[mask].tolist() == hashed(text).tolist()
        assert phrasing.own("another", one.prompt).all()
    # Two examples cannot tell what they share from what their template says.
    assert Phrasing(items[:2]).own("t0", items[0].prompt).all()


VOCABULARY = st.integers(0, 3)
TEXT = st.lists(VOCABULARY, max_size=24).map(lambda numbers: " ".join(f"w{n}" for n in numbers))
EXAMPLES = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5)


def _naive(tests, training, length):
    """Pairs and covered words by comparing tuples of words."""
    shortest = min(ngrams.SHORTEST, length)

    def grams(text, size):
        return {tuple(text[i : i + size]) for i in range(len(text) - size + 1)}

    pairs, covered = {}, []
    for test, texts in enumerate(tests):
        count = 0
        for text in map(words, texts):
            size = min(len(text), length)
            there = set()
            for row, others in enumerate(training):
                shared = set()
                for other in map(words, others):
                    shared |= grams(text, size) & grams(other, size) if size >= shortest else set()
                there |= shared
                pairs.setdefault((row, test), set()).update(shared)
            places = {i + k for i in range(len(text) - size + 1) for k in range(size)
                      if size and tuple(text[i : i + size]) in there}  # fmt: skip
            count += len(places)
        covered.append(count)
    alike = {(row, test) for row, (prompt, _) in enumerate(training)
             for test, (other, _) in enumerate(tests)
             if words(prompt) and words(prompt) == words(other)}  # fmt: skip
    found = {key: (len(shared), key in alike) for key, shared in pairs.items()}
    return {key: value for key, value in found.items() if value != (0, False)}, covered


@given(tests=EXAMPLES, training=EXAMPLES, length=st.integers(2, 13), most=st.sampled_from([1, 99]))
@settings(max_examples=150, deadline=None)
def test_the_index_finds_what_a_naive_one_finds(tests, training, length, most):
    """Also where few pairs are counted at once, and tests are of several tasks."""
    index = Index(length)
    nothing = Phrasing(())
    for i, (prompt, target) in enumerate(tests):  # a task each, so that nothing is phrasing
        assert index.add([item(str(i), prompt, target)]) == range(i, i + 1)
    batch = [item(str(i), *texts, template=f"{i}") for i, texts in enumerate(training)]
    ngrams._MOST_PAIRS, before = most, ngrams._MOST_PAIRS
    try:
        found = index.look_up(batch, nothing)
    finally:
        ngrams._MOST_PAIRS = before
    pairs, covered = _naive(tests, training, length)
    assert {(r, t): (g, bool(d)) for r, t, g, d in found.pairs.tolist()} == pairs
    which = np.zeros(index.count, bool)
    which[found.grams] = True
    coverage = index.coverage(which)
    assert coverage.found.tolist() == covered
    assert (coverage.found <= coverage.looked_for).all() and (coverage.own <= coverage.words).all()
    for test in range(len(tests)):
        assert index.marked(which)[index.places(test)].sum() == covered[test]


def test_what_is_short_is_found_whole_and_what_is_shorter_as_a_duplicate():
    index = Index(13)
    index.add(
        [item("a", "nine words of a test that are its whole"), item("b", "only five words of it")]
    )
    nothing = Phrasing(())
    within = item("x", "before it nine words of a test that are its whole and more")
    part = item("y", "nine words of a test that are its entire")
    same, longer = item("z", "Only five words of it!"), item("u", "only five words of it indeed")
    found = index.look_up([within, part, same, longer], nothing)
    assert found.pairs.tolist() == [[0, 0, 1, 0], [2, 1, 0, 1]]
    assert index.coverage(np.ones(1, bool)).looked_for.tolist() == [9, 0]


def test_a_duplicate_is_one_in_another_template():
    """Own words are compared, as each task's phrasing leaves them."""
    texts = [f"{chr(97 + i)} sings {i * 7} songs to all of {i * i}" for i in range(12)]
    index = Index(13)
    index.add(
        item(str(i), f"Please tell me whether this is so: {t}", template="a")
        for i, t in enumerate(texts)
    )
    other = [
        item(str(i), f"{t} Is that true? Answer in a word now", template="b")
        for i, t in enumerate(texts)
    ]
    phrasing, everything = learnt(other)
    found = index.look_up(list(everything), phrasing)
    duplicates = found.pairs[found.pairs[:, 3] == 1, :2].tolist()
    assert duplicates == [[i, i] for i in range(12)]
