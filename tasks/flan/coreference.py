"""Coreference resolution: whom or what does a pronoun stand for?"""

import re
from typing import Any

from flan_jax import metrics
from tasks.flan.common import Dataset, Row, Template, choose, splits, tidy

CLUSTER = "coreference"

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
# Words that lose their capital where a candidate does not begin a sentence.
_DETERMINERS = (
    "The", "A", "An", "Some", "This", "That", "These", "Those",
    "My", "Your", "His", "Her", "Its", "Our", "Their",
)  # fmt: skip
_POSSESSIVES = ("my", "your", "his", "its", "our", "their", "whose")
# Where "her" is an owner, a word follows it that is none of these: "her book", not "told her that".
_OWNED = re.compile(
    r"\s+[\"']?(?!(?:a|about|after|an|and|as|at|because|before|but|by|for|from|if|in|into|of|on|or|"
    r"so|that|the|to|when|where|while|with|without)\b)\w"
)
_CONTRACTIONS = {"'re": " are", "'ve": " have", "'ll": " will", "'m": " am"}


def _found(text: str, word: str) -> list[re.Match[str]]:
    """Returns every place in a text where a word stands, in whatever case."""
    return list(re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE))


def _name_place(text: str, start: int, word: str) -> str:
    """Returns words for one place of a pronoun: `"it"`, or `the second "it"` if it is repeated."""
    starts = [match.start() for match in _found(text, word)]
    if len(starts) < 2 or start not in starts:
        return f'"{word}"'
    index = starts.index(start)
    ordinal = _ORDINALS[index] if index < len(_ORDINALS) else f"{index + 1}th"
    return f'the {ordinal} "{word}"'


def _mark(text: str, start: int, end: int) -> str:
    """Returns a text with asterisks around one place."""
    return f"{text[:start]}*{text[start:end]}*{text[end:]}"


def _cased(candidate: str, before: str) -> str:
    """Returns a candidate with the capital that it needs after the text `before` it."""
    first, _, rest = candidate.partition(" ")
    if not before.strip() or re.search(r"[.!?][\"')]*$", before.strip()):
        return candidate[:1].upper() + candidate[1:]
    return candidate[:1].lower() + candidate[1:] if rest and first in _DETERMINERS else candidate


def _possessive(pronoun: str, after: str) -> bool:
    """Returns whether a pronoun stands for an owner, given the text after it."""
    if pronoun.lower() != "her":
        return pronoun.lower() in _POSSESSIVES
    return _OWNED.match(after) is not None


def _put(candidate: str, before: str, pronoun: str, after: str) -> str:
    """Returns a candidate and the text after it, as they read in place of a pronoun."""
    candidate = _cased(candidate, before)
    if _possessive(pronoun, after) and not re.search(r"'s?$", candidate):
        candidate += "'s"
    for short, long in _CONTRACTIONS.items():
        if after.startswith(short):
            after = long + after.removeprefix(short)
    return candidate + after


def _opening(before: str) -> str:
    """Returns the text before a gap, with dots."""
    return f"{before.strip()} ...".strip()


def _read_dpr(row: Row) -> dict[str, Any] | None:
    sentence, pronoun = tidy(row["sentence"]), tidy(row["pronoun"])
    found = _found(sentence, pronoun)
    candidates = [_cased(tidy(name), "in") for name in row["candidates"]]
    chosen = choose(candidates, int(row["label"]))
    if not pronoun or not found or chosen is None:
        return None
    start, end = found[0].span()
    before, after = sentence[:start], sentence[end:]
    return {
        "sentence": sentence,
        "pronoun": pronoun,
        "marked": _mark(sentence, start, end),
        "which": _name_place(sentence, start, pronoun),
        "choices": " or ".join(candidates),
        "pair": " and ".join(candidates),
        "resolved": before + _put(chosen["answer"], before, pronoun, after),
        **chosen,
    }


_DPR_TEMPLATES = (
    Template(
        "{sentence}\n\nIn the sentence above, whom or what does {which} refer to?\n{options_}",
        "{answer}",
    ),
    Template(
        "Who or what is meant by the word between asterisks?\n\n{marked}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Which of the noun phrases below could take the place of {which} without changing what "
        "this sentence says?\n\nSentence: {sentence}\n{options_}",
        "{answer}",
    ),
    Template(
        "A reader is puzzled by {which} in the following line. Does it stand for {choices}?\n\n"
        "{sentence}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Sentence: {sentence}\nPronoun: {pronoun} (its first occurrence, if there are several)\n"
        "\n{options_}\nAntecedent:",
        "{answer}",
    ),
    Template("{marked}\n\nReferent of *{pronoun}*?\n{options_}", "{answer}"),
    Template(
        "You are translating this line into a language that spells out what every pronoun refers "
        "to:\n\n{sentence}\n\nBefore you start you need to know what {which} means. Give the name "
        "or noun phrase.\n\n{options_}",
        "{answer}",
    ),
    Template(
        "One pronoun in this sentence points to {answer}. Which pronoun is it?\n\n{sentence}",
        "{pronoun}",
        reversed=True,
    ),
    Template(
        "Rewrite the sentence so that nobody can misread {which}: put what it stands for in its "
        "place.\n\n{sentence}",
        "{resolved}",
        reversed=True,
    ),
    Template(
        'Write a sentence that mentions {pair} and contains the word "{pronoun}". It must be '
        "clear from common sense alone that the word refers to {answer}.",
        "{sentence}",
        reversed=True,
    ),
)


def _read_winogrande(row: Row) -> dict[str, Any] | None:
    sentence = tidy(row["sentence"])
    before, gap, after = sentence.partition("_")
    if not gap or "_" in after:
        return None
    candidates = [tidy(row["option1"]), tidy(row["option2"])]
    endings = [_cased(name, before) + after for name in candidates if name]
    index = int(row["label"])
    chosen = choose(endings, index)
    if chosen is None:
        return None
    return {
        "sentence": sentence,
        "opening": _opening(before),
        "choices": " or ".join(f'"{_cased(name, "in")}"' for name in candidates),
        "filler": _cased(candidates[index], "in"),
        "full": before + chosen["answer"],
        **chosen,
    }


_WINOGRANDE_TEMPLATES = (
    Template(
        "{sentence}\n\nWhat does the blank (_) stand for? Answer with the sentence from the blank "
        "on.\n{options_}",
        "{answer}",
    ),
    Template(
        "Continue the sentence in the way that makes sense.\n\n{opening}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Sentence with a gap: {sentence}\n\nThis is how it would read from the gap onwards with "
        "either of two fillers. Which version is right?\n{options_}",
        "{answer}",
    ),
    Template(
        "{opening}\n\nOne of the endings makes nonsense of this beginning. Give the other one.\n"
        "{options_}",
        "{answer}",
    ),
    Template(
        "English in use, part B. In the sentence below, _ takes the place of {choices}. Decide "
        "which of them is meant and copy the matching ending.\n\n{sentence}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "What belongs in the gap, {choices}? Reply by completing the sentence.\n\n{sentence}\n"
        "{options_}",
        "{answer}",
    ),
    Template(
        "My printer smudged part of a line, so that it now reads\n\n{sentence}\n\n"
        "How do you suppose the line ended?\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Grammar will not help you here, but common sense will. Choose the ending that agrees "
        "with the beginning.\n\nBeginning: {opening}\n{options_}\nEnding:",
        "{answer}",
    ),
    Template(
        "Copy the sentence and fill in the blank. Use either {choices}.\n\n{sentence}",
        "{full}",
        reversed=True,
    ),
    Template(
        "Make up a fill-in-the-blank sentence for a reasoning test, with _ for the blank. Readers "
        'will be offered {choices}; the right solution must be "{filler}".',
        "{sentence}",
        reversed=True,
    ),
)

_WSC_OPTIONS = ("no", "yes")  # TFDS: 0 is False


def _read_wsc(row: Row) -> dict[str, Any] | None:
    index = int(row["label"])
    pronoun, raw = tidy(row["span2_text"]), tidy(row["text"])
    # The index counts words between spaces; in one row it is off by one.
    words = [raw[: match.start()].count(" ") for match in _found(raw, pronoun)]
    candidate = _cased(tidy(row["span1_text"]), "in")
    if index < 0 or not pronoun or not candidate or not words:
        return None
    distances = [abs(word - int(row["span2_index"])) for word in words]
    # Taking away spaces leaves all words where they are, so the place is still the k-th.
    text = re.sub(r" (?=[.,;:!?](?:[\s\"]|$)|['’]s\b)", "", raw)
    start, end = _found(text, pronoun)[distances.index(min(distances))].span()
    return {
        "text": text,
        "marked": _mark(text, start, end),
        "pronoun": pronoun,
        "which": _name_place(text, start, pronoun),
        "candidate": candidate,
        "answer": _WSC_OPTIONS[index],
    }


_WSC_TEMPLATES = (
    Template(
        "{text}\n\nIn the passage above, does {which} refer to {candidate}?\n{options_}",
        "{answer}",
    ),
    Template(
        '{marked}\n\nLook at the word between asterisks. Does it mean "{candidate}"?\n\n{options_}',
        "{answer}",
    ),
    Template(
        "Is {candidate} the antecedent of {which} in the text below?\n\nText: {text}\n{options_}",
        "{answer}",
    ),
    Template(
        "Somebody reads the following and takes {which} to mean {candidate}. Is that what the "
        "writer meant?\n\n{text}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Passage: {marked}\nPronoun: {pronoun}\nProposed referent: {candidate}\n\n"
        "Is the proposal correct?\n{options_}",
        "{answer}",
    ),
    Template(
        '"{text}"\n\nSuppose we put "{candidate}" for {which} and adjusted the grammar where '
        "needed. Would the text still say the same thing?\n{options_}",
        "{answer}",
    ),
    Template(
        "While marking homework you come across this passage:\n\n{text}\n\nThe pupil has noted in "
        "the margin that {which} stands for {candidate}. Do you accept the note?\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Pronouns are slippery. Take this one: {marked} Does it stand for {candidate}?\n{options_}",
        "{answer}",
    ),
    Template(
        'Do the words "{candidate}" and {which} pick out the same person or thing here?\n\n'
        "{text}\n{options_}",
        "{answer}",
    ),
    Template(
        "Check a coreference link made by a computer program. The program marked a pronoun with "
        'asterisks and linked it to "{candidate}".\n\n{marked}\n\n{options_}\nIs the link right?',
        "{answer}",
    ),
)


def _read_wsc273(row: Row) -> dict[str, Any] | None:
    text = str(row["text"])  # not stripped: the places count from its first character
    start, end = int(row["pronoun_start"]), int(row["pronoun_end"])
    before, pronoun, after = text[:start], text[start:end], text[end:].rstrip()
    if not pronoun.strip() or pronoun.strip() != tidy(row["pronoun_text"]):
        return None
    names = [tidy(row["option1_normalized"]), tidy(row["option2_normalized"])]
    chosen = choose([_put(n, before, pronoun, after) for n in names if n], int(row["label"]))
    if chosen is None:
        return None
    return {
        "text": text.strip(),
        "marked": _mark(text, start, end).strip(),
        "which": _name_place(text, start, pronoun),
        "opening": _opening(before),
        "choices": " or ".join(_cased(name, "in") for name in names),
        **chosen,
    }


_WSC273_TEMPLATES = (
    Template(
        "{marked}\n\nHow does the text read from the asterisks on, if the pronoun between them is "
        "replaced by what it refers to?\n{options_}",
        "{answer}",
    ),
    Template("Pick the sensible continuation.\n\n{opening}\n\n{options_}", "{answer}"),
    Template(
        "What does {which} refer to in this text: {choices}?\n\n{text}\n\nAnswer by giving the end "
        "of the text without the pronoun.\n{options_}",
        "{answer}",
    ),
    Template(
        "Text: {text}\n\nTwo people have rewritten the end of it so that it no longer needs "
        "{which}. Whose version keeps the meaning?\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Of these two ways to go on, only one is believable.\n\n{opening}\n{options_}\n"
        "Believable ending:",
        "{answer}",
    ),
    Template(
        "A pupil does not understand what {which} stands for in the line below.\n\n{text}\n\n"
        "Choose the wording that would explain it correctly.\n{options_}",
        "{answer}",
    ),
    Template(
        "Resolve the pronoun.\n\nPassage: {marked}\nCandidates: {choices}\n\n{options_}",
        "{answer}",
    ),
    Template("{opening}\n\nWhat comes after the dots?\n{options_}", "{answer}"),
    Template(
        'Nothing but knowledge of the world tells a reader how to take {which} in "{text}" '
        "Show that you have it: select the ending that says outright what the author "
        "meant.\n\n{options_}",
        "{answer}",
    ),
    Template(
        "You are preparing a text for readers who struggle with pronouns, and have to replace the "
        "one marked with asterisks.\n\n{marked}\n\nWhich new ending would you print?\n{options_}",
        "{answer}",
    ),
)

DATASETS = (
    Dataset(
        name="definite_pronoun_resolution",
        title="Definite Pronoun Resolution",
        cluster=CLUSTER,
        tfds="definite_pronoun_resolution:1.1.0",
        splits=splits("train[:-200]", "train[-200:]", "test"),
        read=_read_dpr,
        fields=("sentence", "pronoun", "marked", "which", "choices", "pair", "resolved"),
        plain="{sentence}\n{pronoun}",
        instruction="Say which of two candidates a pronoun refers to.",
        templates=_DPR_TEMPLATES,
        own_options=True,
        metrics=(metrics.exact_match_metric,),
        notes=(
            "Where a pronoun is repeated, its first occurrence is meant (so the source says), and "
            "prompts say so; a few rows do not keep to that. "
            'Candidates are written as inside a sentence ("the bee", not "The bee").'
        ),
    ),
    Dataset(
        name="winogrande",
        title="WinoGrande",
        cluster=CLUSTER,
        tfds="winogrande:1.2.0",
        splits=splits("train_xl[:30000]", "train_xl[-200:]", "validation"),
        read=_read_winogrande,
        fields=("sentence", "opening", "choices", "filler", "full"),
        plain="{sentence}",
        instruction="Choose the ending of a sentence that fills its blank sensibly.",
        templates=_WINOGRANDE_TEMPLATES,
        own_options=True,
        metrics=(metrics.exact_match_metric,),
        licence="CC-BY",
        notes=(
            "An option is a candidate and the rest of the sentence. All templates that state the "
            "task show the options; half of the original's did not. TFDS has version 1.2.0, not "
            "the original's 1.1.0."
        ),
    ),
    Dataset(
        name="wsc",
        title="WSC",
        cluster=CLUSTER,
        tfds="super_glue/wsc:1.0.2",
        splits=splits("train[:-50]", "train[-50:]", "validation"),
        read=_read_wsc,
        fields=("text", "marked", "pronoun", "which", "candidate"),
        plain="{marked}\n{candidate}",
        instruction="Decide whether a pronoun refers to a given person or thing.",
        templates=_WSC_TEMPLATES,
        options=_WSC_OPTIONS,
        metrics=(metrics.exact_match_metric,),
        sources=("super_glue/wsc", "winograd_schema_challenge"),
        licence="CC-BY-4.0",
        notes=(
            "A quarter of the passages repeat the pronoun, so prompts mark the one that is meant "
            "or count it; where the source's index misses it, the nearest one is. Spaces before "
            "punctuation are removed. Its sentences overlap with those of wsc273."
        ),
    ),
    Dataset(
        name="wsc273",
        title="WSC273",
        cluster=CLUSTER,
        tfds="wsc273:1.0.0",
        splits={"test": "test"},
        read=_read_wsc273,
        fields=("text", "marked", "which", "opening", "choices"),
        plain="{marked}",
        instruction="Choose the ending of a text in which a pronoun is rightly replaced.",
        templates=_WSC273_TEMPLATES,
        own_options=True,
        metrics=(metrics.exact_match_metric,),
        sources=("wsc273", "winograd_schema_challenge"),
        licence="CC-BY-4.0",
        notes=(
            "For evaluation only. An option is a candidate in place of the pronoun and the rest "
            "of the text; a possessive pronoun makes the candidate possessive, which the source "
            "leaves out. Its sentences overlap with those of wsc and wnli, so hold those out."
        ),
    ),
)
