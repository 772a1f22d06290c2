"""JSON objects that are nearly what they should be, for tests of strict readers."""

import copy

from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def changed(obj, path, value):
    """Returns a copy of an object with one value replaced, or added."""
    obj = copy.deepcopy(obj)
    at = obj
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return obj


@st.composite
def mutated(draw, valid, values=JSON):
    """Copies of a valid object with up to three places replaced, removed, doubled or renamed."""
    obj = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        at = obj
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(at[key], dict | list) and draw(st.booleans()):
                at = at[key]
                continue
            action = draw(st.sampled_from(["replace", "remove", "rename", "wrap"]))
            if action == "replace":
                at[key] = draw(values)
            elif action == "wrap":
                at[key] = [copy.deepcopy(at[key])]
            elif action == "remove" or not isinstance(at, dict):
                del at[key]
            else:
                at[draw(st.text(max_size=12))] = at.pop(key)
            break
    return obj
