"""Cluster `lookup`: a short text states facts, and one of them is asked for. A training cluster."""

import re
from collections.abc import Mapping

from flan_jax.instructions.templates import Template
from tasks.minilab.lab import Dice, Example, Fields, MiniTask
from tasks.minilab.lexicon import COLOURS, NAMES, OBJECTS, PLACES, WORDS

CLUSTER = "lookup"
FACTS = 3


def _owners(dice: Dice) -> list[tuple[str, str]]:
    """Returns (name, thing) pairs, no name, object or colour twice."""
    names, objects, colours = (dice.sample(x, FACTS) for x in (NAMES, OBJECTS, COLOURS))
    things = [f"{colour} {thing}" for colour, thing in zip(colours, objects, strict=True)]
    return list(zip(names, things, strict=True))


def _owner_passage(pairs: list[tuple[str, str]]) -> str:
    return " ".join(f"{name} has the {thing}." for name, thing in pairs)


def _stated_owners(passage: str) -> dict[str, str]:
    """Reads {thing: name} back out of a passage."""
    return {thing: name for name, thing in re.findall(r"(\w+) has the ([\w ]+)\.", passage)}


def _make_who_has(dice: Dice, label: str) -> Fields:
    pairs = _owners(dice)
    name, thing = dice.pick(pairs)
    return {"passage": _owner_passage(pairs), "thing": thing, "answer": name}


def _rule_who_has(fields: Mapping[str, str]) -> str:
    return _stated_owners(fields["passage"])[fields["thing"]]


WHO_HAS = MiniTask(
    name="who_has",
    cluster=CLUSTER,
    kind="generation",
    fields=("passage", "thing"),
    layout="{passage} Who has the {thing}?",
    make=_make_who_has,
    rule=_rule_who_has,
    definitions=(
        "You read who has what and are asked who has one of the things. Answer with the name of "
        "that person.",
        "A short passage says which person has which thing. Name the owner of the thing in the "
        "question.",
        "Find the sentence of the passage that mentions the thing asked for, and write the name "
        "of the person in that sentence.",
        "Every person in the passage has one thing. Your answer is the single name that belongs "
        "to the given thing.",
        "Name the owner of the thing.",
    ),
    templates=(
        Template("{passage}\n\nWho has the {thing}?", "{answer}"),
        Template(
            "Read the passage and answer the question.\n\nPassage: {passage}\nQuestion: Who "
            "has the {thing}?\nAnswer:",
            "{answer}",
        ),
        Template("Question: who is the owner of the {thing}?\nFacts: {passage}", "{answer}"),
        Template(
            "I am looking for the {thing}. This is all I know: {passage} Whom should I ask?",
            "{answer}",
        ),
        Template("{passage}\n\nGive the name of the person with the {thing}.", "{answer}"),
        Template("According to the following, who owns the {thing}?\nFacts: {passage}", "{answer}"),
        Template(
            "The {thing} belongs to one of these people. {passage} Tell me the name.", "{answer}"
        ),
        Template("{passage} Owner of the {thing}:", "{answer}"),
        Template("{passage}\n\nWhat is it that {answer} has?", "{thing}", reversed=True),
        Template(
            "Use the passage to say which thing {answer} owns.\n\nFacts: {passage}",
            "{thing}",
            reversed=True,
        ),
    ),
    examples=(
        Example(
            {"passage": "Rita has the green hat. Tom has the silver pen.", "thing": "silver pen"},
            "Tom",
            "The second sentence says that Tom has the silver pen.",
        ),
        Example(
            {
                "passage": "Ole has the old map. Lin has the green hat. Rita has the new bike.",
                "thing": "old map",
            },
            "Ole",
            "The old map is mentioned together with Ole.",
        ),
    ),
)


def _make_what_has(dice: Dice, label: str) -> Fields:
    pairs = _owners(dice)
    name, thing = dice.pick(pairs)
    return {"passage": _owner_passage(pairs), "name": name, "answer": thing}


def _rule_what_has(fields: Mapping[str, str]) -> str:
    by_name = {name: thing for thing, name in _stated_owners(fields["passage"]).items()}
    return by_name[fields["name"]]


WHAT_HAS = MiniTask(
    name="what_has",
    cluster=CLUSTER,
    kind="generation",
    fields=("passage", "name"),
    layout="{passage} What does {name} have?",
    make=_make_what_has,
    rule=_rule_what_has,
    definitions=(
        "You read who has what and are asked about one person. Answer with the thing that this "
        "person has, colour included.",
        "A short passage gives each person one thing. Say which thing belongs to the person "
        "named in the question.",
        "Look up the person in the passage and write down, without the article, what he or she "
        "has.",
        "Find the sentence about the given person. Your answer is the colour and the object that "
        "the sentence names.",
        "Name the thing that the person has.",
    ),
    templates=(
        Template("{passage}\n\nWhat does {name} have?", "{answer}"),
        Template(
            "Read the passage and answer the question.\n\nPassage: {passage}\nQuestion: What "
            "does {name} have?\nAnswer:",
            "{answer}",
        ),
        Template("Question: which thing belongs to {name}?\nFacts: {passage}", "{answer}"),
        Template(
            "Somebody asked me what {name} owns. All I know is this: {passage} What should I say?",
            "{answer}",
        ),
        Template("{passage}\n\nWrite down the thing that {name} has, with its colour.", "{answer}"),
        Template(
            "According to the following, what is in the hands of {name}?\nFacts: {passage}",
            "{answer}",
        ),
        Template(
            "These people have one thing each. {passage} Tell me the thing that {name} has.",
            "{answer}",
        ),
        Template("{passage} Thing of {name}:", "{answer}"),
        Template("{passage}\n\nWhich person has the {answer}?", "{name}", reversed=True),
        Template(
            "Who in this passage is the one with the {answer}?\nFacts: {passage}",
            "{name}",
            reversed=True,
        ),
    ),
    examples=(
        Example(
            {"passage": "Rita has the green hat. Tom has the silver pen.", "name": "Rita"},
            "green hat",
            "The sentence about Rita names the green hat.",
        ),
        Example(
            {
                "passage": "Ole has the old map. Lin has the green hat. Rita has the new bike.",
                "name": "Lin",
            },
            "green hat",
            "Lin is the person in the second sentence, which names the green hat.",
        ),
    ),
)


def _make_where_is(dice: Dice, label: str) -> Fields:
    objects, places = dice.sample(OBJECTS, FACTS), dice.sample(PLACES, FACTS)
    facts = [f"The {a} is in the {b}." for a, b in zip(objects, places, strict=True)]
    asked = dice.below(FACTS)
    return {"passage": " ".join(facts), "thing": objects[asked], "answer": places[asked]}


def _rule_where_is(fields: Mapping[str, str]) -> str:
    places = dict(re.findall(r"The (\w+) is in the (\w+)\.", fields["passage"]))
    return places[fields["thing"]]


WHERE_IS = MiniTask(
    name="where_is",
    cluster=CLUSTER,
    kind="generation",
    fields=("passage", "thing"),
    layout="{passage} Where is the {thing}?",
    make=_make_where_is,
    rule=_rule_where_is,
    definitions=(
        "A passage says where some things are. Answer where the thing in the question is, with "
        "the place alone.",
        "You are told about several things and their places. Name the place of the one that is "
        "asked for.",
        "Find the sentence about the given thing and write the single word for the place it is in.",
        "Somebody is looking for a thing. Use the passage to tell in which place it can be found.",
        "Name the place where the thing is.",
    ),
    templates=(
        Template("{passage}\n\nWhere is the {thing}?", "{answer}"),
        Template(
            "Read the passage and answer the question.\n\nPassage: {passage}\nQuestion: "
            "Where is the {thing}?\nAnswer:",
            "{answer}",
        ),
        Template("Question: in which place is the {thing}?\nFacts: {passage}", "{answer}"),
        Template(
            "I lost my {thing}. A friend told me this: {passage} Where should I look?", "{answer}"
        ),
        Template("{passage}\n\nName the place of the {thing} in one word.", "{answer}"),
        Template(
            "According to the following, where can one find the {thing}?\nFacts: {passage}",
            "{answer}",
        ),
        Template(
            "Things have been put away. {passage} Tell me the place where the {thing} is.",
            "{answer}",
        ),
        Template("{passage} Place of the {thing}:", "{answer}"),
        Template("{passage}\n\nWhich thing is in the {answer}?", "{thing}", reversed=True),
        Template(
            "Somebody went to the {answer}. What was there?\nFacts: {passage}",
            "{thing}",
            reversed=True,
        ),
    ),
    examples=(
        Example(
            {"passage": "The bike is in the yard. The map is in the car.", "thing": "map"},
            "car",
            "The second sentence says that the map is in the car.",
        ),
        Example(
            {"passage": "The hat is in the bus. The pen is in the yard.", "thing": "hat"},
            "bus",
            "The sentence about the hat names the bus.",
        ),
    ),
)


def _make_next_item(dice: Dice, label: str) -> Fields:
    items = dice.sample(WORDS, dice.between(4, 6))
    position = dice.below(len(items) - 1)
    word, answer = items[position], items[position + 1]
    return {"items": ", ".join(items), "word": word, "answer": answer}


def _rule_next_item(fields: Mapping[str, str]) -> str:
    _, _, tail = f", {fields['items']}, ".partition(f", {fields['word']}, ")
    return tail.partition(",")[0]


NEXT_ITEM = MiniTask(
    name="next_item",
    cluster=CLUSTER,
    kind="generation",
    fields=("items", "word"),
    layout="List: {items}\nWord: {word}",
    make=_make_next_item,
    rule=_rule_next_item,
    definitions=(
        "You are given a list and one word of it. Answer with the word that comes right after it "
        "in the list.",
        "Find the given word in the list and write down its right neighbour.",
        "The list is read from left to right. Say which word is read directly after the given one.",
        "Given several words separated by commas, name the one that follows the word in "
        "question. It is never the last word of the list that is asked about.",
        "Name the word that follows in the list.",
    ),
    templates=(
        Template("{items}\n\nWhich word comes right after {word}?", "{answer}"),
        Template(
            "Find {word} in the list and write the word that follows it.\nList: {items}\n"
            "Next word:",
            "{answer}",
        ),
        Template("List: {items}\nQuestion: what is next after {word}?\nAnswer:", "{answer}"),
        Template(
            "I am reading this list aloud: {items}. I have just said {word}. What do I say next?",
            "{answer}",
        ),
        Template(
            "Name the right neighbour of {word} in the following list.\n\nList: {items}", "{answer}"
        ),
        Template(
            "In the list / {items} /, one word stands directly behind {word}. Which one?",
            "{answer}",
        ),
        Template("{items}\n\nLook up {word} and give me the word after it.", "{answer}"),
        Template("{items}. After {word}:", "{answer}"),
        Template("{items}\n\nWhich word comes right before {answer}?", "{word}", reversed=True),
        Template(
            "Name the left neighbour of {answer} in this list: {items}", "{word}", reversed=True
        ),
    ),
    examples=(
        Example(
            {"items": "milk, sofa, engine, violet", "word": "sofa"},
            "engine",
            "Behind sofa the list goes on with engine.",
        ),
        Example(
            {"items": "north, pizza, cabin, zero, kitten", "word": "zero"},
            "kitten",
            "zero is followed by kitten.",
        ),
    ),
)


def _make_check_fact(dice: Dice, label: str) -> Fields:
    pairs = _owners(dice)
    (name, thing), (_, other) = dice.sample(pairs, 2)
    claim = f"{name} has the {thing if label == 'yes' else other}"
    return {"passage": _owner_passage(pairs), "claim": claim, "answer": label}


def _rule_check_fact(fields: Mapping[str, str]) -> str:
    sentences = re.split(r"(?<=\.) ", fields["passage"])
    return "yes" if f"{fields['claim']}." in sentences else "no"


CHECK_FACT = MiniTask(
    name="check_fact",
    cluster=CLUSTER,
    kind="classification",
    fields=("passage", "claim"),
    layout="Passage: {passage}\nClaim: {claim}.",
    make=_make_check_fact,
    rule=_rule_check_fact,
    labels=("yes", "no"),
    definitions=(
        "You read who has what, and then a claim about one of the people. Answer yes where the "
        "passage says so, and no where it says otherwise.",
        "Decide whether the claim is one of the facts that the passage states. The answer is yes "
        "or no.",
        "Compare the claim with the passage: does the person really have that thing? Say yes or "
        "no.",
        "A claim is right if the passage has the same person with the same thing. Answer yes for "
        "a right claim and no for a wrong one.",
        "Is the claim true? Answer yes or no.",
    ),
    templates=(
        Template("{passage}\n\nIs it true that {claim}?\n{options_}", "{answer}"),
        Template(
            "Read the passage and check the claim.\n\nPassage: {passage}\nClaim: {claim}.\n"
            "{options_}\nAnswer:",
            "{answer}",
        ),
        Template(
            "Claim: {claim}.\nFacts: {passage}\nIs the claim right?\n\n{options_}", "{answer}"
        ),
        Template(
            "Somebody told me that {claim}. But I know only this: {passage} Can I believe it?\n"
            "{options_}",
            "{answer}",
        ),
        Template("{passage}\n\n{options_}\n\nDoes the passage say that {claim}?", "{answer}"),
        Template(
            "According to the following, is this so: {claim}?\nFacts: {passage}\n{options_}",
            "{answer}",
        ),
        Template(
            "Check one sentence against the facts.\nSentence: {claim}.\nFacts: {passage}\n"
            "{options_}",
            "{answer}",
        ),
        Template("{options_}\nFacts: {passage} So {claim}, right?", "{answer}"),
        Template(
            "Look for this sentence in the passage and say whether it is there.\n"
            "Claim: {claim}.\n\nFacts: {passage}\n\n{options_}",
            "{answer}",
        ),
        Template(
            "We know: {passage}\nWe guess: {claim}.\nIs the guess correct? {options_}", "{answer}"
        ),
    ),
    examples=(
        Example(
            {
                "passage": "Rita has the green hat. Tom has the silver pen.",
                "claim": "Tom has the silver pen",
            },
            "yes",
            "The passage states exactly that.",
        ),
        Example(
            {
                "passage": "Rita has the green hat. Tom has the silver pen.",
                "claim": "Tom has the green hat",
            },
            "no",
            "The green hat is Rita's; Tom has the silver pen.",
        ),
    ),
)

TASKS = (WHO_HAS, WHAT_HAS, WHERE_IS, NEXT_ITEM, CHECK_FACT)
