"""Cluster `lookup`: a short text or list states facts, and one of them is asked for.

The tasks about owners share their passages, and so do the tasks about places and the tasks about
lists. A bare thing beside a passage of owners may ask for its owner or for its colour, and a word
beside a list for the word on either side of it: only the instruction tells.
"""

import re
from collections.abc import Mapping

from tasks.minilab.forms import owner_passage, owners
from tasks.minilab.lab import Dice, Example, Fields, MiniTask, ask, turned
from tasks.minilab.lexicon import NAMES, OBJECTS, PLACES, WORDS

CLUSTER = "lookup"
HELDOUT = ("who_is_in", "previous_item")

_PEOPLE, _THINGS = 3, 2


def _stated_owners(passage: str) -> list[tuple[str, str, str]]:
    return re.findall(r"(\w+) has the (\w+) (\w+)\.", passage)


def _make_who_has(dice: Dice, label: str) -> Fields:
    pairs = owners(dice)
    name, thing = dice.pick(pairs)
    # Without the colour, so that the input may as well ask for the colour.
    return {"passage": owner_passage(pairs), "thing": thing.split()[1], "answer": name}


def _rule_who_has(fields: Mapping[str, str]) -> str:
    names = {thing: name for name, _, thing in _stated_owners(fields["passage"])}
    return names.get(fields["thing"], "")


WHO_HAS = MiniTask(
    name="who_has",
    cluster=CLUSTER,
    kind="generation",
    skills=("find",),
    fields=("passage", "thing"),
    layout="{passage} / {thing}",
    make=_make_who_has,
    rule=_rule_who_has,
    definitions=(
        "You are given a passage that says who has what, and then one of the things. Answer with "
        "the name of the person who has it.",
        "Find the sentence of the passage that mentions the given thing, and write the name of "
        "the person in that sentence.",
        "Every person in the passage has one thing. Your answer is the single name that belongs "
        "to the given thing, not the colour of that thing.",
        "Name the owner of the thing.",
    ),
    avoid="Do not answer with the colour of the thing, and do not write a whole sentence.",
    emphasis="The answer is one name: the one in the same sentence as the thing.",
    templates=(
        *ask(
            "{passage}\n\nWho has the {thing}?",
            "Read the passage and answer the question.\n\nPassage: {passage}\n"
            "Question: Who has the {thing}?\nAnswer:",
            "Question: who is the owner of the {thing}?\nFacts: {passage}",
            "I am looking for the {thing}. This is all I know: {passage} Whom should I ask for it?",
            "{passage}\n\nNever mind the colour of the {thing}. Give me the name of the person "
            "who has it.",
            "According to the following, who owns the {thing}?\nFacts: {passage}",
            "The {thing} belongs to one of these people. {passage} Please tell me the name.",
            "{passage} Owner of the {thing}, not its colour:",
        ),
        turned("{passage}\n\nWhich thing does {answer} have? Leave out the colour.", "{thing}"),
        turned(
            "Use the passage to say what {answer} owns, without its colour.\n\nFacts: {passage}",
            "{thing}",
        ),
    ),
    new_wordings=ask(
        "One of the people in this text may point at the {thing} and say: it is mine. Write the "
        "name of that person.\n\nText: {passage}",
        "Do not tell me which colour the {thing} has. What I want to know is whose it is. "
        "{passage}",
        "Passage: {passage}\nThing: {thing}\nPerson it belongs to:",
    ),
    examples=(
        Example(
            {"passage": "Rita has the green hat. Tom has the silver pen.", "thing": "pen"},
            "Tom",
            "The second sentence says that Tom has the pen.",
        ),
        Example(
            {
                "passage": "Ole has the gray map. Lin has the green hat. Rita has the red bike.",
                "thing": "map",
            },
            "Ole",
            "The map is mentioned together with Ole.",
        ),
    ),
    negatives=(
        Example(
            {"passage": "Rita has the green hat. Tom has the silver pen.", "thing": "pen"},
            "silver",
            "Silver is the colour of the pen; the answer should be its owner, Tom.",
        ),
    ),
)


def _make_what_has(dice: Dice, label: str) -> Fields:
    pairs = owners(dice)
    name, thing = dice.pick(pairs)
    return {"passage": owner_passage(pairs), "name": name, "answer": thing}


def _rule_what_has(fields: Mapping[str, str]) -> str:
    stated = _stated_owners(fields["passage"])
    things = {name: f"{colour} {thing}" for name, colour, thing in stated}
    return things.get(fields["name"], "")


WHAT_HAS = MiniTask(
    name="what_has",
    cluster=CLUSTER,
    kind="generation",
    skills=("find",),
    fields=("passage", "name"),
    layout="{passage} / {name}",
    make=_make_what_has,
    rule=_rule_what_has,
    definitions=(
        "You read who has what and are then given one person. Answer with the thing that this "
        "person has, colour included.",
        "A short passage gives each person one thing. Say which thing belongs to the person who "
        "is named after it: first the colour, then the object.",
        "Look up the person in the passage and write down what he or she has, with the colour "
        "but without the word the.",
        "Find the sentence about the given person. Your answer is the colour and the object that "
        "the sentence names.",
        "Name the thing that the person has, and its colour.",
    ),
    avoid="Do not leave out the colour, and do not write the article or a whole sentence.",
    emphasis="The answer is two words: a colour and an object.",
    templates=(
        *ask(
            "{passage}\n\nWhat does {name} have? Give its colour too.",
            "Read the passage and answer the question in two words.\n\nPassage: {passage}\n"
            "Question: What does {name} have?\nAnswer:",
            "Question: which thing belongs to {name}? Answer with colour and object.\n"
            "Facts: {passage}",
            "Somebody asked me what {name} owns and what colour it is. All I know is this: "
            "{passage} Which two words should I say?",
            "{passage}\n\nWrite down the thing that {name} has, with its colour.",
            "According to the following, what is in the hands of {name}? Not just the object: "
            "put its colour in front.\nFacts: {passage}",
            "These people have one thing each. {passage} Tell me the colour and the name of the "
            "thing that {name} has, not of anybody else's.",
            "{passage} Colour and thing of {name}:",
        ),
        turned("{passage}\n\nWhich person has the {answer}?", "{name}"),
        turned("Who in this passage is the one with the {answer}?\nFacts: {passage}", "{name}"),
    ),
    new_wordings=ask(
        "I know that {name} owns something. Find it in this text, and do not forget which colour "
        "it has: {passage}",
        "Person: {name}\nPassage: {passage}\nWhat this person has, in two words:",
        "{passage} I ask neither who has something nor for the colour alone. I ask for the whole "
        "thing, colour and object, that belongs to {name}.",
    ),
    examples=(
        Example(
            {"passage": "Rita has the green hat. Tom has the silver pen.", "name": "Rita"},
            "green hat",
            "The sentence about Rita names the green hat.",
        ),
        Example(
            {
                "passage": "Ole has the gray map. Lin has the green hat. Rita has the red bike.",
                "name": "Rita",
            },
            "red bike",
            "Rita is the person in the last sentence, which names the red bike.",
        ),
    ),
    negatives=(
        Example(
            {"passage": "Rita has the green hat. Tom has the silver pen.", "name": "Rita"},
            "hat",
            "The colour is missing; the answer should be green hat.",
        ),
    ),
)


def _make_colour_of(dice: Dice, label: str) -> Fields:
    pairs = owners(dice)
    colour, thing = dice.pick(pairs)[1].split()
    return {"passage": owner_passage(pairs), "thing": thing, "answer": colour}


def _rule_colour_of(fields: Mapping[str, str]) -> str:
    colours = {thing: colour for _, colour, thing in _stated_owners(fields["passage"])}
    return colours.get(fields["thing"], "")


COLOUR_OF = MiniTask(
    name="colour_of",
    cluster=CLUSTER,
    kind="generation",
    skills=("find",),
    fields=("passage", "thing"),
    layout="{passage} / {thing}",
    make=_make_colour_of,
    rule=_rule_colour_of,
    definitions=(
        "The passage says who has which thing, and which colour the thing is. Answer with the "
        "colour of the given thing.",
        "Find the given thing in the passage and write the word right in front of it, which is "
        "its colour. The owner does not matter.",
        "You are given some facts and then a thing. Say in one word which colour this thing has.",
        "Things of different colours belong to different people. Answer with the colour of the "
        "one thing that is named, not with its owner.",
        "Name the colour of the thing.",
    ),
    avoid="Do not answer with a person, and do not repeat the thing.",
    emphasis="The answer is one word, the colour of this thing and not of another one.",
    templates=(
        *ask(
            "{passage}\n\nWhich colour is the {thing}?",
            "Read the passage and answer the question.\n\nPassage: {passage}\n"
            "Question: What is the colour of the {thing}?\nAnswer:",
            "Question: which colour does the {thing} have?\nFacts: {passage}",
            "I want to draw the {thing} and need the right pencil. This is all I know: {passage} "
            "Which colour should I take?",
            "{passage}\n\nI do not ask who has the {thing}. I ask for its colour.",
            "Task: give the colour of the {thing}.\nInput: {passage}\nOutput:",
            "Please tell me in one word what colour the {thing} in this text is. Text: {passage}",
            "{passage} Colour of the {thing}, not its owner:",
            "Somebody has the {thing}, no matter who. Is it red, blue or another colour? Write "
            "the colour.\nFacts: {passage}",
        ),
        turned(
            "{passage}\n\nOne of these things is {answer}. Which one? Name it without the colour.",
            "{thing}",
        ),
    ),
    new_wordings=ask(
        "The {thing} is mentioned in this text. Find it and look at the word in front of it: "
        "which colour do you read there?\n\nText: {passage}",
        "Forget the person who owns the {thing}. Only how it looks is of interest, red or green "
        "or whatever it may be. {passage}",
        "Passage: {passage}\nThing: {thing}\nIts colour:",
    ),
    examples=(
        Example(
            {"passage": "Rita has the green hat. Tom has the silver pen.", "thing": "hat"},
            "green",
            "The first sentence calls it the green hat.",
        ),
        Example(
            {
                "passage": "Ole has the gray map. Lin has the green hat. Rita has the red bike.",
                "thing": "bike",
            },
            "red",
            "The bike, which Rita has, is red.",
        ),
    ),
    negatives=(
        Example(
            {"passage": "Rita has the green hat. Tom has the silver pen.", "thing": "hat"},
            "Rita",
            "Rita is the owner of the hat; the answer should be its colour, green.",
        ),
    ),
)


def _placed(dice: Dice) -> tuple[str, list[tuple[str, str]], list[tuple[str, str]]]:
    """Returns a passage, its (name, place) pairs and its (thing, place) pairs.

    No two people and no two things are in one place, but mostly a thing is where a person is, so
    that a place alone does not say whether the person or the thing in it is meant.
    """
    places = dice.sample(PLACES, _PEOPLE + 1)
    people = list(zip(dice.sample(NAMES, _PEOPLE), places, strict=False))
    things = list(zip(dice.sample(OBJECTS, _THINGS), dice.sample(places, _THINGS), strict=True))
    facts = [f"{name} is in the {place}." for name, place in people]
    facts += [f"The {thing} is in the {place}." for thing, place in things]
    return " ".join(dice.shuffled(facts)), people, things


def _make_where_is(dice: Dice, label: str) -> Fields:
    passage, _, things = _placed(dice)
    thing, place = dice.pick(things)
    return {"passage": passage, "thing": thing, "answer": place}


def _rule_where_is(fields: Mapping[str, str]) -> str:
    places = dict(re.findall(r"The (\w+) is in the (\w+)\.", fields["passage"]))
    return places.get(fields["thing"], "")


WHERE_IS = MiniTask(
    name="where_is",
    cluster=CLUSTER,
    kind="generation",
    skills=("find",),
    fields=("passage", "thing"),
    layout="{passage} / {thing}",
    make=_make_where_is,
    rule=_rule_where_is,
    definitions=(
        "A passage says where some people and some things are. Answer where the given thing is, "
        "with the place alone.",
        "You are told about people, things and their places. Name the place of the one thing that "
        "is given, not who is there with it.",
        "Find the sentence about the given thing and write the single word for the place it is in.",
        "Somebody is looking for a thing. Use the passage to tell in which place it can be found.",
        "Name the place where the thing is.",
    ),
    avoid="Do not write a whole sentence, and do not name a person.",
    emphasis="The answer is one word, the place in the sentence about the thing.",
    templates=(
        *ask(
            "{passage}\n\nWhere is the {thing}? Name the place alone.",
            "Read the passage and answer the question in one word.\n\nPassage: {passage}\n"
            "Question: Where is the {thing}?\nAnswer:",
            "Question: in which place is the {thing}?\nFacts: {passage}",
            "I lost my {thing}. A friend told me this: {passage} In which place should I look?",
            "{passage}\n\nName the place of the {thing} in one word.",
            "According to the following, in which place can one find the {thing}? Do not say who "
            "is there too.\nFacts: {passage}",
            "Things have been put away. {passage} Please tell me the place where the {thing} is, "
            "just the one word.",
            "{passage} Place of the {thing}:",
            "Never mind who is in which place. I only look for the place where the {thing} is. "
            "{passage}",
        ),
        turned("{passage}\n\nWhich thing, not which person, is in the {answer}?", "{thing}"),
    ),
    new_wordings=ask(
        "Go and get me the {thing}, please. {passage} Write the one word that says to which place "
        "you have to go.",
        "Thing: {thing}\nPassage: {passage}\nPlace in which it is:",
        "I do not want to know who is near the {thing}, I want to know its place.\nText: {passage}",
    ),
    examples=(
        Example(
            {
                "passage": "The bike is in the yard. Rita is in the yard. The map is in the car.",
                "thing": "map",
            },
            "car",
            "The last sentence says that the map is in the car.",
        ),
        Example(
            {
                "passage": "Tom is in the car. The hat is in the bus. The pen is in the yard.",
                "thing": "hat",
            },
            "bus",
            "The sentence about the hat names the bus.",
        ),
    ),
    negatives=(
        Example(
            {
                "passage": "The bike is in the yard. Rita is in the yard. The map is in the car.",
                "thing": "bike",
            },
            "Rita",
            "Rita is in the same place as the bike; the answer should be the place, yard.",
        ),
    ),
)


def _make_who_is_in(dice: Dice, label: str) -> Fields:
    passage, people, _ = _placed(dice)
    name, place = dice.pick(people)
    return {"passage": passage, "place": place, "answer": name}


def _rule_who_is_in(fields: Mapping[str, str]) -> str:
    # The name begins its sentence, which "The ball" does with two words.
    stated = re.findall(r"(?:^|\. )(\w+) is in the (\w+)", fields["passage"])
    return {place: name for name, place in stated}.get(fields["place"], "")


WHO_IS_IN = MiniTask(
    name="who_is_in",
    cluster=CLUSTER,
    kind="generation",
    skills=("find",),
    fields=("passage", "place"),
    layout="{passage} / {place}",
    make=_make_who_is_in,
    rule=_rule_who_is_in,
    definitions=(
        "A passage says where some people and some things are. Answer with the name of the person "
        "who is in the given place.",
        "You are given facts about people, things and places, and then one place. Say which "
        "person is there, not which thing.",
        "Find the sentence that puts a person in the given place and write the name in it.",
        "Name the person who is in the place.",
    ),
    avoid="Do not answer with a thing that is in the place, and do not write a whole sentence.",
    emphasis="A thing may be in the same place; the answer is the person.",
    templates=ask(
        "{passage}\n\nWho is in the {place}?",
        "Read the passage and answer the question.\n\nPassage: {passage}\n"
        "Question: Which person is in the {place}?\nAnswer:",
        "Facts: {passage}\nPlace: {place}\nPerson who is there:",
        "I went to the {place} and met somebody there. This is all I know: {passage} Who was it?",
        "{passage}\n\nGive me the name of the person in the {place}, not of a thing.",
        "Task: say who is in the {place}.\nInput: {passage}\nOutput:",
        "One of these people is in the {place}. Please tell me the name. {passage}",
        "According to the following, which person can one find in the {place}?\nFacts: {passage}",
        "Never mind which things are in the {place}. Whose name should I call when I go there? "
        "{passage}",
        "{passage} Person in the {place}:",
    ),
    examples=(
        Example(
            {
                "passage": "The bike is in the yard. Rita is in the yard. Tom is in the car.",
                "place": "yard",
            },
            "Rita",
            "The second sentence says that Rita is in the yard; the bike is no person.",
        ),
        Example(
            {
                "passage": "Tom is in the car. The hat is in the bus. Lin is in the garden.",
                "place": "garden",
            },
            "Lin",
            "The sentence with the garden is about Lin.",
        ),
    ),
    negatives=(
        Example(
            {
                "passage": "The bike is in the yard. Rita is in the yard. Tom is in the car.",
                "place": "yard",
            },
            "bike",
            "The bike is in the yard too, but it is a thing; the answer should be Rita.",
        ),
    ),
)


def _listed(dice: Dice) -> tuple[list[str], int]:
    """Returns the items of a list and a position that has a neighbour on either side."""
    items = dice.sample(WORDS, dice.between(4, 6))
    return items, dice.between(1, len(items) - 2)


def _make_next_item(dice: Dice, label: str) -> Fields:
    items, position = _listed(dice)
    word, answer = items[position], items[position + 1]
    return {"items": ", ".join(items), "word": word, "answer": answer}


def _rule_next_item(fields: Mapping[str, str]) -> str:
    _, _, tail = f", {fields['items']}, ".partition(f", {fields['word']}, ")
    return tail.partition(",")[0]


# No template turns the task around: that would be `previous_item`, which is held out.
NEXT_ITEM = MiniTask(
    name="next_item",
    cluster=CLUSTER,
    kind="generation",
    skills=("find", "position"),
    fields=("items", "word"),
    layout="{items} / {word}",
    make=_make_next_item,
    rule=_rule_next_item,
    definitions=(
        "You are given a list and one word of it. Answer with the word that comes right after it "
        "in the list.",
        "Find the given word in the list and write down its right neighbour, not its left one.",
        "The list is read from left to right. Say which word is read directly after the given one.",
        "Given several words separated by commas, name the one that follows the word in "
        "question. It is never the last word of the list that is asked about.",
        "Name the word that follows in the list.",
    ),
    avoid="Do not give the word before, and do not repeat the given word.",
    emphasis="It is the very next word that counts, not any later one.",
    templates=ask(
        "{items}\n\nWhich word comes right after {word}?",
        "Find {word} in the list and write the word that follows it.\nList: {items}\nNext word:",
        "List: {items}\nQuestion: what is next after {word}?\nAnswer:",
        "I am reading this list aloud: {items}. I have just said {word}. Which word do I say next?",
        "Name the right neighbour of {word} in the following list.\n\nList: {items}",
        "In the list / {items} /, one word stands directly behind {word}. Which one?",
        "{items}\n\nLook up {word} and give me the word after it, please, not the one before it.",
        "{items}. Right after {word}:",
        "Not what is in front of {word} but what is directly behind it: write that word. "
        "List: {items}",
        "Task: write the word that is right behind {word}, not the last word.\nInput: {items}\n"
        "Output:",
    ),
    new_wordings=ask(
        "Put your finger on {word} in this list and move one word to the right. Which word is "
        "there?\nList: {items}",
        "The previous word is of no interest to me. I want the one that the list goes on with "
        "once {word} is past: {items}",
        "Word: {word}\nList: {items}\nThe word that follows directly:",
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
    negatives=(
        Example(
            {"items": "milk, sofa, engine, violet", "word": "sofa"},
            "milk",
            "milk stands before sofa; the word after it is engine.",
        ),
    ),
)


def _make_previous_item(dice: Dice, label: str) -> Fields:
    items, position = _listed(dice)
    word, answer = items[position], items[position - 1]
    return {"items": ", ".join(items), "word": word, "answer": answer}


def _rule_previous_item(fields: Mapping[str, str]) -> str:
    head, found, _ = f", {fields['items']}, ".partition(f", {fields['word']}, ")
    return head.rpartition(", ")[2] if found else ""


PREVIOUS_ITEM = MiniTask(
    name="previous_item",
    cluster=CLUSTER,
    kind="generation",
    skills=("find", "position"),
    fields=("items", "word"),
    layout="{items} / {word}",
    make=_make_previous_item,
    rule=_rule_previous_item,
    definitions=(
        "You are given a list and one word of it. Answer with the word that comes right before it "
        "in the list.",
        "Find the given word in the list and write down its left neighbour, not its right one.",
        "The list is read from left to right. Say which word is read directly before the given "
        "one. It is never the first word of the list that is asked about.",
        "Name the word in front of it in the list.",
    ),
    avoid="Do not give the word after, and do not repeat the given word.",
    emphasis="It is the word directly in front that counts, not any earlier one.",
    templates=ask(
        "{items}\n\nWhich word comes right before {word}?",
        "Find {word} in the list and write the word directly in front of it.\nList: {items}\n"
        "Previous word:",
        "List: {items}\nQuestion: what is right before {word}?\nAnswer:",
        "I am reading this list aloud: {items}. I have just said {word}. Which word did I say "
        "directly before?",
        "Name the left neighbour of {word} in the following list.\n\nList: {items}",
        "In the list / {items} /, one word stands directly in front of {word}. Which one?",
        "{items}\n\nLook up {word} and give me the word before it, please, not the one after it.",
        "{items}. Right before {word}:",
        "Not what is behind {word} but what is directly in front of it: write that word. "
        "List: {items}",
        "Task: write the word that is right in front of {word}, not the first word.\n"
        "Input: {items}\nOutput:",
    ),
    examples=(
        Example(
            {"items": "milk, sofa, engine, violet", "word": "engine"},
            "sofa",
            "In front of engine the list has sofa.",
        ),
        Example(
            {"items": "north, pizza, cabin, zero, kitten", "word": "pizza"},
            "north",
            "north stands directly before pizza.",
        ),
    ),
    negatives=(
        Example(
            {"items": "milk, sofa, engine, violet", "word": "sofa"},
            "engine",
            "engine stands after sofa; the word before it is milk.",
        ),
    ),
)

TASKS = (WHO_HAS, WHAT_HAS, COLOUR_OF, WHERE_IS, WHO_IS_IN, NEXT_ITEM, PREVIOUS_ITEM)
