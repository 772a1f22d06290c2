"""Cluster `entailment`: a passage states facts, and a claim or a question is weighed against them.

Most tasks get the same kind of input, a passage of owners and a claim such as "Anna has the red
ball", and answer it differently: the claim may be stated, be true, be about somebody who is
mentioned, or contradict the passage, and only the instruction tells which of it is asked.
`check_fact` has inputs of `taller` too, where a claim may follow without being stated.
"""

import itertools
import re
from collections.abc import Mapping

from tasks.minilab.forms import FACTS, owner_passage, owners
from tasks.minilab.lab import Dice, Example, Fields, MiniTask, ask
from tasks.minilab.lexicon import NAMES, OBJECTS, PLACES

CLUSTER = "entailment"
HELDOUT = ("contradicts",)

_CLAIM_FIELDS = ("passage", "claim")
_CLAIM_LAYOUT = "{passage} / {claim}"
_RITA_AND_TOM = "Rita has the green hat. Tom has the silver pen."
_RITA_TOM_LIN = "Rita is taller than Tom. Tom is taller than Lin."


def _claimed(dice: Dice, kind: str) -> tuple[str, str, str]:
    """Returns a passage of owners, and a person and a thing to make a claim of.

    Kinds: "own" the person has the thing; "other" somebody else of the passage has it; "new" the
    thing is not in the passage; "stranger" the person is not, nor the thing; "taker" the person is
    not, but the thing is.
    """
    *stated, (stranger, unseen) = owners(dice, FACTS + 1)
    name, thing = dice.pick(stated)
    if kind == "other":
        a, b = dice.sample(range(FACTS), 2)
        # Mostly the person comes before the thing, as always where the thing is her own. Not every
        # time, or else a claim about the person named last would always be stated.
        if a > b and dice.below(2):
            a, b = b, a
        name, thing = stated[a][0], stated[b][1]
    elif kind == "new":
        thing = unseen
    elif kind == "stranger":
        name, thing = stranger, unseen
    elif kind == "taker":
        name = stranger
    return owner_passage(stated), name, thing


def _stated_owners(passage: str) -> dict[str, str]:
    return dict(re.findall(r"(\w+) has the ([\w ]+)\.", passage))


# Positions of two people in a row of so many, the tallest first: neighbours, and others.
_NEXT = {n: list(itertools.pairwise(range(n))) for n in (3, 4)}
_FAR = {n: [p for p in itertools.combinations(range(n), 2) if p not in _NEXT[n]] for n in _NEXT}


def _chain(dice: Dice) -> tuple[str, list[str]]:
    """Returns a passage of comparisons and the people in it, the tallest first.

    The sentences are in any order, or else whoever is named earlier would be the taller one.
    """
    people = dice.sample(NAMES, dice.between(3, 4))
    facts = [f"{a} is taller than {b}." for a, b in itertools.pairwise(people)]
    return " ".join(dice.shuffled(facts)), people


# Mostly the person and the thing are both mentioned, so that to look for one of them is not enough.
_NOT_STATED = ("other",) * 6 + ("new", "stranger", "taker")


def _make_check_fact(dice: Dice, label: str) -> Fields:
    if not dice.below(4):
        passage, people = _chain(dice)
        follows = label == "no" and dice.below(2)
        a, b = dice.pick((_FAR if follows else _NEXT)[len(people)])
        if label == "no" and not follows:
            a, b = b, a
        claim = f"{people[a]} is taller than {people[b]}"
    else:
        kind = "own" if label == "yes" else dice.pick(_NOT_STATED)
        passage, name, thing = _claimed(dice, kind)
        claim = f"{name} has the {thing}"
    return {"passage": passage, "claim": claim, "answer": label}


def _rule_check_fact(fields: Mapping[str, str]) -> str:
    sentences = re.split(r"(?<=\.) ", fields["passage"])
    return "yes" if f"{fields['claim']}." in sentences else "no"


CHECK_FACT = MiniTask(
    name="check_fact",
    cluster=CLUSTER,
    kind="classification",
    skills=("judge", "find"),
    fields=_CLAIM_FIELDS,
    layout=_CLAIM_LAYOUT,
    make=_make_check_fact,
    rule=_rule_check_fact,
    labels=("yes", "no"),
    definitions=(
        "You are given a passage and a claim. Answer yes where one sentence of the passage says "
        "exactly what the claim says, and no where none does.",
        "Decide whether the claim is one of the facts that the passage states. Only what is "
        "stated counts, not what follows from it. The answer is yes or no.",
        "Look for the claim, word by word, among the sentences of the passage. Say yes if it is "
        "there and no if it is not.",
        "A claim is either a sentence of the passage or differs from each of them in a name or in "
        "a thing. Answer yes in the first case and no in the second.",
        "Is the claim stated? Answer yes or no.",
    ),
    avoid="Do not answer yes because the claim is likely or can be concluded.",
    emphasis="The person and the thing may both be mentioned, but not in the same sentence.",
    templates=ask(
        "{passage}\n\nIs it stated that {claim}?\n{options_}",
        "Read the passage and check whether the claim is one of its sentences.\n\n"
        "Passage: {passage}\nClaim: {claim}.\n{options_}\nAnswer:",
        "Claim: {claim}.\nFacts: {passage}\nIs the claim one of the facts?\n\n{options_}",
        "Somebody told me that {claim}. I have only this text: {passage} Does it say so in these "
        "very words?\n{options_}",
        "{passage}\n\n{options_}\n\nDoes any sentence of the passage say that {claim}?",
        "I do not ask what follows from the text, only what it states. Is there a sentence that "
        "says that {claim}?\nText: {passage}\n{options_}",
        "Check one sentence against the facts: yes if it is among them, no if it is not.\n"
        "Sentence: {claim}.\nFacts: {passage}\n{options_}",
        "{options_}\nFacts: {passage} Can one read there, word by word, that {claim}?",
        "Look for this sentence in the passage and say whether it is there.\n"
        "Claim: {claim}.\n\nPassage: {passage}\n\n{options_}",
        "We know: {passage}\nNew sentence: {claim}.\nNever mind whether it contradicts what we "
        "know. Is it already there?\n{options_}",
    ),
    new_wordings=ask(
        "I say that {claim}. Is this one of the things that I can read in the following text?\n"
        "Text: {passage}\n{options_}",
        "Here is all that somebody wrote: {passage} Not whether it is true, but whether it was "
        "written down is my question: {claim}.\n{options_}",
        "Sentence: {claim}.\nPassage: {passage}\nThe passage has this very sentence:\n{options_}",
    ),
    examples=(
        Example(
            {"passage": _RITA_AND_TOM, "claim": "Tom has the silver pen"},
            "yes",
            "The passage states exactly that.",
        ),
        Example(
            {"passage": _RITA_AND_TOM, "claim": "Tom has the green hat"},
            "no",
            "The green hat is Rita's; Tom has the silver pen.",
        ),
        Example(
            {"passage": _RITA_TOM_LIN, "claim": "Rita is taller than Lin"},
            "no",
            "It follows from the two sentences, but neither of them states it.",
        ),
    ),
    negatives=(
        Example(
            {"passage": _RITA_AND_TOM, "claim": "Tom has the green hat"},
            "yes",
            "Tom and the green hat are both mentioned, but not together; the answer should be no.",
        ),
    ),
)


def _make_same_place(dice: Dice, label: str) -> Fields:
    # Two things in each of two places, so that any thing has one thing beside it.
    things, places = dice.sample(OBJECTS, 4), dice.sample(PLACES, 2)
    facts = [f"The {thing} is in the {places[i % 2]}." for i, thing in enumerate(things)]
    pair = [things[0], things[2 if label == "yes" else 1]]
    if dice.below(2):
        pair.reverse()
    passage = " ".join(dice.shuffled(facts))
    return {"passage": passage, "thing": pair[0], "other": pair[1], "answer": label}


def _rule_same_place(fields: Mapping[str, str]) -> str:
    places = dict(re.findall(r"The (\w+) is in the (\w+)\.", fields["passage"]))
    if fields["thing"] not in places or fields["other"] not in places:
        return ""
    return "yes" if places[fields["thing"]] == places[fields["other"]] else "no"


SAME_PLACE = MiniTask(
    name="same_place",
    cluster=CLUSTER,
    kind="classification",
    skills=("judge", "match"),
    fields=("passage", "thing", "other"),
    layout="{passage} / {thing} / {other}",
    make=_make_same_place,
    rule=_rule_same_place,
    labels=("yes", "no"),
    definitions=(
        "A passage says where some things are, and two of the things are given. Answer yes where "
        "they are in the same place, and no where they are in different places.",
        "Find the place of the first thing and the place of the second thing. Say yes if it is "
        "the same word both times, otherwise no.",
        "You are asked about two things. If somebody can find both without going from one place "
        "to another the answer is yes, and if not it is no.",
        "Compare the places of the two things, not where their sentences stand in the passage. "
        "The answer is yes or no.",
        "Are the two things in one place? Answer yes or no.",
    ),
    avoid="Do not answer with a place.",
    emphasis="Sentences that stand side by side may still be about different places.",
    templates=ask(
        "{passage}\n\nAre the {thing} and the {other} in the same place?\n{options_}",
        "Read the passage and answer the question.\n\nPassage: {passage}\nQuestion: Is the "
        "{thing} where the {other} is?\n{options_}\nAnswer:",
        "Are the {thing} and the {other} in one place? Facts: {passage}\n{options_}",
        "I need the {thing} and the {other}. This is all I know: {passage} Can I find both in a "
        "single place?\n{options_}",
        "{options_}\nFacts: {passage} Is one place named both for the {thing} and for the {other}?",
        "Which place it is does not matter. Say only whether the {thing} and the {other} are "
        "in the same one.\nFacts: {passage}\n{options_}",
        "Task: compare the places of the {thing} and the {other}, yes for the same, no for "
        "different ones.\nInput: {passage}\nOutput:\n{options_}",
        "According to the following, does the {thing} share its place with the {other}?\n"
        "Facts: {passage}\n\n{options_}",
        "Somebody stands beside the {thing}. Is the {other} in that place too, and not in "
        "another?\n\n{options_}\n\nFacts: {passage}",
        "Not where their sentences are, but where the things are: is it the same place for the "
        "{thing} and the {other}?\nPassage: {passage}\n{options_}",
    ),
    new_wordings=ask(
        "Please tell me whether I have to go to two places to get the {other} and the {thing}, "
        "which is no, or to one, which is yes.\nText: {passage}\n{options_}",
        "Do not name any place. {passage} Are they together, the {thing} and the {other}?\n"
        "{options_}",
        "Passage: {passage}\nThings: {thing}, {other}\nSame place:\n{options_}",
    ),
    examples=(
        Example(
            {
                "passage": "The bike is in the yard. The map is in the car. The hat is in the "
                "yard. The pen is in the car.",
                "thing": "hat",
                "other": "bike",
            },
            "yes",
            "Both are in the yard.",
        ),
        Example(
            {
                "passage": "The bike is in the yard. The map is in the car. The hat is in the "
                "yard. The pen is in the car.",
                "thing": "bike",
                "other": "map",
            },
            "no",
            "The bike is in the yard, but the map is in the car.",
        ),
    ),
    negatives=(
        Example(
            {
                "passage": "The bike is in the yard. The map is in the car. The hat is in the "
                "yard. The pen is in the car.",
                "thing": "map",
                "other": "hat",
            },
            "yes",
            "Their sentences follow one another, but car and yard are different places.",
        ),
    ),
)


_NOT_HERS = ("other", "other", "other", "new")


def _make_speaks_truth(dice: Dice, label: str) -> Fields:
    negated = dice.below(2)
    has_it = (label == "true") != negated
    passage, name, thing = _claimed(dice, "own" if has_it else dice.pick(_NOT_HERS))
    claim = f"{name} {'does not have' if negated else 'has'} the {thing}"
    return {"passage": passage, "claim": claim, "answer": label}


def _rule_speaks_truth(fields: Mapping[str, str]) -> str:
    claim = re.fullmatch(r"(\w+) (has|does not have) the ([\w ]+)", fields["claim"])
    things = _stated_owners(fields["passage"])
    if not claim or claim[1] not in things:
        return ""
    has_it = things[claim[1]] == claim[3]
    return "true" if has_it == (claim[2] == "has") else "false"


SPEAKS_TRUTH = MiniTask(
    name="speaks_truth",
    cluster=CLUSTER,
    kind="classification",
    skills=("judge", "find"),
    fields=_CLAIM_FIELDS,
    layout=_CLAIM_LAYOUT,
    make=_make_speaks_truth,
    rule=_rule_speaks_truth,
    labels=("true", "false"),
    definitions=(
        "A passage gives each person exactly one thing. Somebody claims that a person has, or does "
        "not have, a thing. Answer true where this is right and false where it is wrong.",
        "Find out from the passage what the person has, and weigh the claim against it. With not "
        "in the claim, it is true for every other thing and false for the one that is stated.",
        "Is the speaker of the claim telling the truth? Nobody has more than the one thing that "
        "the passage gives them. Say true or false.",
        "A claim can be true although it is not stated: whoever has one thing does not have any "
        "other. Judge whether the given claim is true or false.",
        "Each person has one thing only. Is the claim true or false?",
    ),
    avoid="Do not answer yes or no, and do not pass over the word not.",
    emphasis="A claim with not is true where the person has something else.",
    templates=ask(
        "{passage} Each person has only one thing.\n\nTrue or false: {claim}.\n{options_}",
        "Somebody says that {claim}. Is that true or false, if everybody has one thing only?\n"
        "Facts: {passage}\n{options_}",
        "Facts: {passage}\nNobody has two things. A friend tells me that {claim}. Is what the "
        "friend says true or false?\n{options_}",
        "Mind the word not, if it is there.\n\nPassage: {passage}\nClaim: {claim}.\nNobody has "
        "more than one thing. Is the claim true?\n{options_}\nAnswer:",
        "Task: say true or false. What is not stated may still be true, since each person has "
        "just one thing.\nInput: {passage} Claim: {claim}.\nOutput:\n{options_}",
        "{options_}\nWhich of the two is it to say that {claim}? Facts, with one thing a person "
        "and no more: {passage}",
        "I heard somebody say that {claim}. Now I read this: {passage} If nobody has a second "
        "thing, did I hear something true or something false?\n{options_}",
        "Do not look for the very same sentence; think about whether it is true. Everybody has "
        "one thing.\nFacts: {passage}\nSentence: {claim}.\n{options_}",
        "Given that each person has one thing and no other, judge the claim that {claim}.\n\n"
        "{options_}\n\nFacts: {passage}",
        "People and their things, one for each: {passage} Is it a true or a false claim that "
        "{claim}?\n{options_}",
    ),
    new_wordings=ask(
        "Not whether it is stated but whether it is true, that is my question. {passage} Nobody "
        "has two things. What about this: {claim}?\n{options_}",
        "Suppose that all of this is so and that there are no other things: {passage} Would "
        "somebody who says that {claim} be telling something true or something false?\n{options_}",
        "Claim: {claim}.\nPassage: {passage}\nWith one thing for each person, this claim is:\n"
        "{options_}",
    ),
    examples=(
        Example(
            {"passage": _RITA_AND_TOM, "claim": "Tom does not have the green hat"},
            "true",
            "Tom has the silver pen and nothing else, so he does not have the green hat.",
        ),
        Example(
            {"passage": _RITA_AND_TOM, "claim": "Tom has the green hat"},
            "false",
            "It is Rita who has the green hat.",
        ),
        Example(
            {"passage": _RITA_AND_TOM, "claim": "Rita does not have the green hat"},
            "false",
            "The passage says that she has it.",
        ),
    ),
    negatives=(
        Example(
            {"passage": _RITA_AND_TOM, "claim": "Tom does not have the green hat"},
            "false",
            "The sentence is not in the passage, but it is true, as Tom has another thing.",
        ),
    ),
)


# Under either label the thing is in the passage or is not, as often as under the other one.
_KNOWN_PERSON = ("own", "other", "new", "new")
_UNKNOWN_PERSON = ("stranger", "taker")


def _make_stated_or_open(dice: Dice, label: str) -> Fields:
    kind = dice.pick(_KNOWN_PERSON if label == "stated" else _UNKNOWN_PERSON)
    passage, name, thing = _claimed(dice, kind)
    return {"passage": passage, "claim": f"{name} has the {thing}", "answer": label}


def _rule_stated_or_open(fields: Mapping[str, str]) -> str:
    claim = re.fullmatch(r"(\w+) (?:has|does not have) the [\w ]+", fields["claim"])
    if not claim:
        return ""
    return "stated" if claim[1] in _stated_owners(fields["passage"]) else "open"


STATED_OR_OPEN = MiniTask(
    name="stated_or_open",
    cluster=CLUSTER,
    kind="classification",
    skills=("judge", "find"),
    fields=_CLAIM_FIELDS,
    layout=_CLAIM_LAYOUT,
    make=_make_stated_or_open,
    rule=_rule_stated_or_open,
    labels=("stated", "open"),
    definitions=(
        "You are given a passage and a claim about a person. Answer stated where the passage says "
        "what that person has, whatever it is, and open where the person does not occur in it.",
        "Only the name in the claim counts. If it is also in the passage the answer is stated, and "
        "if it is not the answer is open. The thing plays no part.",
        "Does the passage tell us what this person has? Say stated if it does, even if it is "
        "another thing than in the claim, and open if it does not mention the person.",
        "A claim may be wrong and still be about somebody we know. Answer stated for a person of "
        "the passage and open for anybody else.",
        "Is the person of the claim in the passage? Answer stated if so, otherwise open.",
    ),
    avoid="Do not go by the thing, and do not judge whether the claim is true.",
    emphasis="A wrong claim about a person of the passage is stated; only a new name is open.",
    templates=ask(
        "{passage}\n\nThe claim is that {claim}. Is anything stated about this person, whatever it "
        "is, or is it open what the person has?\n{options_}",
        "Read the passage: {passage}\nSay stated if it mentions the person of the following claim, "
        "and open if it does not.\nClaim: {claim}.\n{options_}\nAnswer:",
        "It does not matter whether it is true that {claim}. Is what this person has stated here, "
        "or is it open?\nFacts: {passage}\n{options_}",
        "Somebody told me that {claim}. Look only at the name. In this text it is either there, "
        "which is stated, or not, which is open: {passage}\n{options_}",
        "Facts: {passage}\nClaim: {claim}.\nA person of the facts: stated. A person we know "
        "nothing of: open.\n\n{options_}",
        "{options_}\nChoose the second if the person of this claim is not in the passage, else "
        "the first, even for a wrong claim.\nClaim: {claim}.\nPassage: {passage}",
        "Never mind whether the thing fits. Does the passage say what the person has, any thing "
        "at all (stated), or nothing (open)?\nPassage: {passage}\nClaim: {claim}.\n{options_}",
        "I wonder about the person in this sentence: {claim}. Is it stated or open what that "
        "person has?\n{options_}\n\nHere is all I know: {passage}",
        "Task: stated for a name that is in the passage, open for a new one; the thing plays no "
        "part.\nInput: {passage} Claim: {claim}.\nOutput:\n{options_}",
        "Is the name in the claim that {claim} also one of these names? Then say stated, "
        "otherwise open. {passage}\n{options_}",
    ),
    new_wordings=ask(
        "Even a claim that contradicts the passage is stated, as long as its person is mentioned; "
        "if not, it is open. Claim: {claim}.\nPassage: {passage}\n{options_}",
        "{passage} Do we know of any thing that belongs to the person when somebody says that "
        "{claim}? If we do, stated, if we know none, open.\n{options_}",
        "Passage: {passage}\nClaim: {claim}.\nWhat the passage says about this person, right or "
        "wrong, is:\n{options_}",
    ),
    examples=(
        Example(
            {"passage": _RITA_AND_TOM, "claim": "Tom has the green hat"},
            "stated",
            "The passage says what Tom has, even though it is another thing.",
        ),
        Example(
            {"passage": _RITA_AND_TOM, "claim": "Ole has the green hat"},
            "open",
            "Ole does not occur in the passage.",
        ),
    ),
    negatives=(
        Example(
            {"passage": _RITA_AND_TOM, "claim": "Rita has the blue map"},
            "open",
            "The map is not mentioned, but Rita is, and only the person counts: stated.",
        ),
    ),
)


def _make_taller(dice: Dice, label: str) -> Fields:
    passage, people = _chain(dice)
    # Half of the claims are about neighbours, whom one sentence compares.
    a, b = dice.pick((_FAR if dice.below(2) else _NEXT)[len(people)])
    if label == "no":
        a, b = b, a
    claim = f"{people[a]} is taller than {people[b]}"
    return {"passage": passage, "claim": claim, "answer": label}


def _rule_taller(fields: Mapping[str, str]) -> str:
    claim = re.fullmatch(r"(\w+) is taller than (\w+)", fields["claim"])
    below = dict(re.findall(r"(\w+) is taller than (\w+)\.", fields["passage"]))
    if not claim or not below:
        return ""
    person = claim[1]
    for _ in below:
        person = below.get(person, "")
        if person == claim[2]:
            return "yes"
    return "no"


TALLER = MiniTask(
    name="taller",
    cluster=CLUSTER,
    kind="classification",
    skills=("judge", "order"),
    fields=_CLAIM_FIELDS,
    layout=_CLAIM_LAYOUT,
    make=_make_taller,
    rule=_rule_taller,
    labels=("yes", "no"),
    definitions=(
        "A passage compares people by how tall they are, and a claim compares two of them. Answer "
        "yes where the claim follows from the passage, stated or not, and no where it does not.",
        "Put all the people in order, the tallest first. Say yes if the first person of the claim "
        "comes before the second one in that order, and no otherwise.",
        "Whoever is taller than a second person is also taller than everybody that the second "
        "person is taller than. Decide with this whether the claim is right: yes or no.",
        "Work out who is taller from all the sentences together. The claim need not be one of "
        "them. The answer is yes or no.",
        "Does the claim follow? Answer yes or no.",
    ),
    avoid="Do not answer no only because no sentence states the claim.",
    emphasis="The sentences may be in any order; two or three may be needed together.",
    templates=ask(
        "{passage}\n\nDoes it follow that {claim}?\n{options_}",
        "Read the passage and answer the question.\n\nPassage: {passage}\nQuestion: Must it be "
        "so that {claim}?\n{options_}\nAnswer:",
        "Claim: {claim}.\nFacts: {passage}\nDoes the claim follow from the facts?\n\n{options_}",
        "Somebody told me that {claim}. I know this: {passage} Taking all of it together, is "
        "the claim right?\n{options_}",
        "It need not be stated in one sentence. Does it follow from all of them that {claim}?\n"
        "Text: {passage}\n{options_}",
        "{options_}\nFacts: {passage} Can one conclude that {claim}?",
        "Put the people in order, the tallest first. Is it then right that {claim}?\n"
        "People: {passage}\n{options_}",
        "Task: yes if the claim follows, no if it is the other way round.\nInput: {passage} "
        "Claim: {claim}.\nOutput:\n{options_}",
        "Do not look for the claim among the sentences; think about whether it must be so. "
        "Claim: {claim}.\n\n{options_}\n\nFacts: {passage}",
        "We know: {passage}\nWe guess that {claim}. Is the guess correct?\n{options_}",
    ),
    new_wordings=ask(
        "Not whether one of the sentences says so, but whether it must be so is my question: "
        "{claim}. The sentences: {passage}\n{options_}",
        "All these people stand in a row, from tall to small. {passage} Would you then agree "
        "that {claim}?\n{options_}",
        "Passage: {passage}\nClaim: {claim}.\nThe claim follows:\n{options_}",
    ),
    examples=(
        Example(
            {"passage": _RITA_TOM_LIN, "claim": "Rita is taller than Lin"},
            "yes",
            "Rita is taller than Tom, who is taller than Lin.",
        ),
        Example(
            {
                "passage": "Ole is taller than Tom. Tom is taller than Lin. Rita is taller than "
                "Ole.",
                "claim": "Tom is taller than Rita",
            },
            "no",
            "The order is Rita, Ole, Tom, Lin, so Rita is the taller one.",
        ),
    ),
    negatives=(
        Example(
            {"passage": _RITA_TOM_LIN, "claim": "Rita is taller than Lin"},
            "no",
            "No sentence states it, but it follows from the two together.",
        ),
    ),
)


# No "taker" among the latter: to give a stranger somebody else's thing looks like a contradiction.
_CONTRADICTING = ("other", "new")
_COMPATIBLE = ("own", "stranger")


def _make_contradicts(dice: Dice, label: str) -> Fields:
    kind = dice.pick(_CONTRADICTING if label == "yes" else _COMPATIBLE)
    passage, name, thing = _claimed(dice, kind)
    return {"passage": passage, "claim": f"{name} has the {thing}", "answer": label}


def _rule_contradicts(fields: Mapping[str, str]) -> str:
    claim = re.fullmatch(r"(\w+) has the ([\w ]+)", fields["claim"])
    if not claim:
        return ""
    stated = _stated_owners(fields["passage"]).get(claim[1], claim[2])
    return "no" if stated == claim[2] else "yes"


CONTRADICTS = MiniTask(
    name="contradicts",
    cluster=CLUSTER,
    kind="classification",
    skills=("judge", "find"),
    fields=_CLAIM_FIELDS,
    layout=_CLAIM_LAYOUT,
    make=_make_contradicts,
    rule=_rule_contradicts,
    labels=("yes", "no"),
    definitions=(
        "A passage gives each person only one thing. Answer yes where the claim contradicts it, "
        "which is so if the same person has another thing there, and no where it does not.",
        "Find the person of the claim in the passage. If the passage gives this person, who can "
        "have only one thing, another thing, say yes. If it gives the same thing or does not "
        "mention the person, say no.",
        "Each person has only one thing. Decide whether the passage and the claim cannot both be "
        "true. The answer is yes if they cannot, and no if they can.",
        "With one thing for each person, does the claim contradict the passage? Answer yes or no.",
    ),
    avoid="Do not answer yes only because the passage does not state the claim.",
    emphasis="A claim about a person who is not mentioned contradicts nothing.",
    templates=ask(
        "{passage} Each person has only one thing.\n\nDoes it contradict this to say that "
        "{claim}?\n{options_}",
        "Read the passage and check the claim. Each person has only one thing.\n\n"
        "Passage: {passage}\nClaim: {claim}.\nDoes the claim contradict the passage?\n"
        "{options_}\nAnswer:",
        "Claim: {claim}.\nFacts: {passage}\nNobody has more than one thing. Does the claim "
        "contradict the facts?\n\n{options_}",
        "Somebody told me that {claim}. I know this: {passage} If each person has only one thing, "
        "must one of the two be wrong?\n{options_}",
        "{options_}\nFacts, with only one thing for each person: {passage} Is it against the facts "
        "that {claim}?",
        "I do not ask whether it is stated that {claim}. Does it contradict the following text? "
        "Each person has only one thing.\nText: {passage}\n{options_}",
        "Task: yes if the person has another thing in the passage, no if not. Each person has only "
        "one thing.\nInput: {passage} Claim: {claim}.\nOutput:\n{options_}",
        "Everybody has only one thing. A claim about a new person is never against the passage. "
        "Does this one contradict it: {claim}?\n\n{options_}\n\nPassage: {passage}",
        "We know: {passage}\nNew sentence: {claim}.\nEach person has only one thing. Does the new "
        "sentence contradict what we know?\n{options_}",
        "Say yes if the passage gives the person of the claim another thing, and no otherwise. "
        "Each has only one.\nClaim: {claim}.\nPassage: {passage}\n{options_}",
    ),
    examples=(
        Example(
            {"passage": _RITA_AND_TOM, "claim": "Tom has the green hat"},
            "yes",
            "Tom has the silver pen, and nobody has two things.",
        ),
        Example(
            {"passage": _RITA_AND_TOM, "claim": "Tom has the silver pen"},
            "no",
            "The passage states the same.",
        ),
        Example(
            {"passage": _RITA_AND_TOM, "claim": "Ole has the blue map"},
            "no",
            "Nothing is said about Ole, so the claim may be true.",
        ),
    ),
    negatives=(
        Example(
            {"passage": _RITA_AND_TOM, "claim": "Ole has the blue map"},
            "yes",
            "The claim is new, but it does not contradict anything; the answer should be no.",
        ),
    ),
)

TASKS = (CHECK_FACT, SAME_PLACE, SPEAKS_TRUTH, STATED_OR_OPEN, TALLER, CONTRADICTS)
