"""Cluster `question_writing`: the question is written that a given word answers.

All tasks get the same passage, drawn the same way: two facts on who has what and one on where a
thing is. So the passage does not tell which question is wanted, and the target does so in part.
"""

from collections.abc import Mapping

from tasks.minilab.forms import FACTS
from tasks.minilab.lab import Dice, Example, Fields, MiniTask, ask, turned
from tasks.minilab.lexicon import COLOURS, NAMES, OBJECTS, PLACES

CLUSTER = "question_writing"
HELDOUT = ("question_colour",)

_FIELDS = ("passage", "target")
_LAYOUT = "{passage} / {target}"
_ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))


def _draw(dice: Dice) -> tuple[str, list[str], list[str], list[str], str]:
    """Returns the passage, two names, three colours and three objects, and a place.

    The first two things belong to the two people, and the third one is in the place.
    """
    names, place = dice.sample(NAMES, 2), dice.pick(PLACES)
    colours, objects = dice.sample(COLOURS, FACTS), dice.sample(OBJECTS, FACTS)
    facts = (
        f"{names[0]} has the {colours[0]} {objects[0]}.",
        f"{names[1]} has the {colours[1]} {objects[1]}.",
        f"The {colours[2]} {objects[2]} is in the {place}.",
    )
    passage = " ".join([facts[i] for i in dice.pick(_ORDERS)])
    return passage, names, colours, objects, place


def _sentences(fields: Mapping[str, str]) -> list[list[str]]:
    """Returns the words of every sentence of the passage."""
    return [sentence.split() for sentence in fields["passage"].removesuffix(".").split(". ")]


def _owned(fields: Mapping[str, str]) -> list[tuple[str, str]]:
    """Returns (name, thing with its colour) of every sentence that says who has what."""
    words = _sentences(fields)
    return [(w[0], f"{w[3]} {w[4]}") for w in words if len(w) == 5 and w[1:3] == ["has", "the"]]


def _placed(fields: Mapping[str, str]) -> list[tuple[str, str]]:
    """Returns (thing with its colour, place) of every sentence that says where a thing is."""
    words = _sentences(fields)
    is_in = ["is", "in", "the"]
    return [(f"{w[1]} {w[2]}", w[6]) for w in words if len(w) == 7 and w[3:6] == is_in]


def _make_question_who(dice: Dice, label: str) -> Fields:
    passage, names, colours, objects, _ = _draw(dice)
    i = dice.below(2)
    question = f"Who has the {colours[i]} {objects[i]}?"
    return {"passage": passage, "target": names[i], "answer": question}


def _rule_question_who(fields: Mapping[str, str]) -> str:
    things = [thing for name, thing in _owned(fields) if name == fields["target"]]
    return f"Who has the {things[0]}?" if things else ""


QUESTION_WHO = MiniTask(
    name="question_who",
    cluster=CLUSTER,
    kind="generation",
    skills=("question",),
    fields=_FIELDS,
    layout=_LAYOUT,
    make=_make_question_who,
    rule=_rule_question_who,
    definitions=(
        "You are given a few facts and the name of a person. Write the question whose answer is "
        "this name. It asks who has the thing of the person, in exactly this form: Who has the "
        "green hat?",
        "Find the fact about the person who is named and ask for the person, with the colour and "
        "the thing of that fact: Who has the <colour> <thing>?",
        "The answer to a question is known: it is a name. Write the question. It consists of the "
        "words Who has the, the colour, the thing and a question mark.",
        "Ask who it is that has the thing, so that the given name is the right reply.",
        "Write: Who has the <colour> <thing>?",
    ),
    avoid="Do not answer with the name, and do not mention the name in the question.",
    emphasis="The colour belongs in the question, right before the thing.",
    templates=(
        *ask(
            "Read the facts and write the question that has the given name as its answer. Form: "
            "Who has the <colour> <thing>?\n\nFacts: {passage}\nAnswer: {target}\nQuestion:",
            "{passage}\n\nThe answer is {target}, but what was the question? Write it like this "
            "one: Who has the green hat?",
            "Task: a question with who, like Who has the white coat?\n"
            "Facts: {passage}\nAnswer: {target}\nOutput:",
            "Please ask me something about this text: {passage} Your question has the form Who "
            "has the <colour> <thing>? and the right reply to it is {target}.",
            "I am writing a quiz. The players get to know this: {passage} I want them to say "
            "{target} and not anybody else. My questions sound like: Who has the green hat?",
            "Ask for {target} with the words Who has the, a colour and a thing.\n\n> {passage}",
            "Do not ask where something is, or what somebody has. Ask who has it, as in Who has "
            "the white coat?\n\nFacts: {passage}\nThe reply should be: {target}",
            "{passage}\n\nWho has the X Y? Put a colour for X and a thing for Y, so that the "
            "question is answered by {target} and by no other name.",
        ),
        turned(
            "Read the facts and answer the question with a name.\n\nFacts: {passage}\n"
            "Question: {answer}\nAnswer:",
            "{target}",
        ),
        turned("{passage}\n\nAnswer in one word: {answer}", "{target}"),
    ),
    new_wordings=ask(
        "Someone was told: {passage} Then a question was asked and the reply was {target}. "
        "Write down what was asked, in the form Who has the <colour> <thing>?",
        "The name {target} is not what I want from you, I have it already. I want the question "
        "that leads to it, such as: Who has the green hat?\n\nText: {passage}",
        "Find the fact about {target} and turn it into a question with who in place of the "
        "name. It ends with the colour, the thing and a question mark.\n\nFacts: {passage}",
    ),
    examples=(
        Example(
            {
                "passage": "Tom has the green hat. The old map is in the office. Sue has the "
                "white coat.",
                "target": "Sue",
            },
            "Who has the white coat?",
            "Sue has the white coat, so her name answers this question.",
        ),
        Example(
            {
                "passage": "The old map is in the office. Tom has the green hat. Sue has the "
                "white coat.",
                "target": "Tom",
            },
            "Who has the green hat?",
            "The fact about Tom is that he has the green hat.",
        ),
    ),
    negatives=(
        Example(
            {
                "passage": "Sue has the white coat. The old map is in the office. Tom has the "
                "green hat.",
                "target": "Tom",
            },
            "What does Tom have?",
            "The answer to that is the green hat, but the answer should be Tom.",
        ),
    ),
)


def _make_question_what(dice: Dice, label: str) -> Fields:
    passage, names, colours, objects, _ = _draw(dice)
    i = dice.below(2)
    question = f"What does {names[i]} have?"
    return {"passage": passage, "target": f"{colours[i]} {objects[i]}", "answer": question}


def _rule_question_what(fields: Mapping[str, str]) -> str:
    names = [name for name, thing in _owned(fields) if thing == fields["target"]]
    return f"What does {names[0]} have?" if names else ""


QUESTION_WHAT = MiniTask(
    name="question_what",
    cluster=CLUSTER,
    kind="generation",
    skills=("question",),
    fields=_FIELDS,
    layout=_LAYOUT,
    make=_make_question_what,
    rule=_rule_question_what,
    definitions=(
        "You are given a few facts and a thing with its colour. Write the question whose answer "
        "is this thing. It asks what the owner has, in exactly this form: What does Tom have?",
        "Find the fact that mentions the given thing and ask for the thing, with the name of the "
        "person in that fact: What does <name> have?",
        "The answer to a question is known: it is a thing that somebody has. Write the question. "
        "It consists of the words What does, the name, have and a question mark.",
        "Ask what it is that the person has, so that the given thing is the right reply.",
        "Write: What does <name> have?",
    ),
    avoid="Do not mention the thing or its colour in the question.",
    emphasis="The question says have and not has.",
    templates=(
        *ask(
            "Read the facts and write the question that has the given thing as its answer. Form: "
            "What does <name> have?\n\nFacts: {passage}\nAnswer: {target}\nQuestion:",
            "{passage}\n\nThe answer is {target}, but what was the question? Write it like this "
            "one: What does Tom have?",
            "Task: a question with what, like What does Sue have?\n"
            "Facts: {passage}\nAnswer: {target}\nOutput:",
            "Please ask me something about this text: {passage} Your question has the form What "
            "does <name> have? and the right reply to it is {target}.",
            "I am writing a quiz. The players get to know this: {passage} I want them to say "
            "{target} and not anything else. My questions sound like: What does Tom have?",
            "Ask for the {target} with the words What does, a name and have.\n\n> {passage}",
            "Do not ask where something is, or who has it. Ask what the person has, as in What "
            "does Sue have?\n\nFacts: {passage}\nThe reply should be: {target}",
            "{passage}\n\nWhat does X have? Put a name for X, so that the question is answered by "
            "{target} and by no other thing.",
        ),
        turned(
            "Read the facts and answer the question with a colour and a thing.\n\n"
            "Facts: {passage}\nQuestion: {answer}\nAnswer:",
            "{target}",
        ),
        turned("{passage}\n\nAnswer in two words: {answer}", "{target}"),
    ),
    new_wordings=ask(
        "Someone was told: {passage} Then a question was asked and the reply was {target}. "
        "Write down what was asked, in the form What does <name> have?",
        "The {target} is not what I want from you, I have it already. I want the question that "
        "leads to it, such as: What does Tom have?\n\nText: {passage}",
        "Find the person with the {target} and put the name into a question that begins with "
        "what does and ends with have and a question mark. Do not use who.\n\nFacts: {passage}",
    ),
    examples=(
        Example(
            {
                "passage": "Tom has the green hat. The old map is in the office. Sue has the "
                "white coat.",
                "target": "white coat",
            },
            "What does Sue have?",
            "Sue has the white coat, so the white coat answers this question.",
        ),
        Example(
            {
                "passage": "The old map is in the office. Tom has the green hat. Sue has the "
                "white coat.",
                "target": "green hat",
            },
            "What does Tom have?",
            "The green hat is in the fact about Tom.",
        ),
    ),
    negatives=(
        Example(
            {
                "passage": "Sue has the white coat. The old map is in the office. Tom has the "
                "green hat.",
                "target": "green hat",
            },
            "Who has the green hat?",
            "The answer to that is Tom, but the answer should be the green hat.",
        ),
    ),
)


def _make_question_where(dice: Dice, label: str) -> Fields:
    passage, _, colours, objects, place = _draw(dice)
    question = f"Where is the {colours[2]} {objects[2]}?"
    return {"passage": passage, "target": place, "answer": question}


def _rule_question_where(fields: Mapping[str, str]) -> str:
    things = [thing for thing, place in _placed(fields) if place == fields["target"]]
    return f"Where is the {things[0]}?" if things else ""


QUESTION_WHERE = MiniTask(
    name="question_where",
    cluster=CLUSTER,
    kind="generation",
    skills=("question",),
    fields=_FIELDS,
    layout=_LAYOUT,
    make=_make_question_where,
    rule=_rule_question_where,
    definitions=(
        "You are given a few facts and a place. Write the question whose answer is this place. "
        "It asks where the thing in that place is, in exactly this form: Where is the green hat?",
        "Find the fact that mentions the given place and ask for the place, with the colour and "
        "the thing of that fact: Where is the <colour> <thing>?",
        "The answer to a question is known: it is a place. Write the question. It consists of "
        "the words Where is the, the colour, the thing and a question mark.",
        "Ask where it is that the thing can be found, so that the given place is the right reply.",
        "Write: Where is the <colour> <thing>?",
    ),
    avoid="Do not mention the place in the question, and do not ask about a person.",
    emphasis="The colour belongs in the question, right before the thing.",
    templates=(
        *ask(
            "Read the facts and write the question that has the given place as its answer. Form: "
            "Where is the <colour> <thing>?\n\nFacts: {passage}\nAnswer: {target}\nQuestion:",
            "{passage}\n\nThe answer is {target}, but what was the question? Write it like this "
            "one: Where is the green hat?",
            "Task: a question with where, like Where is the white coat?\n"
            "Facts: {passage}\nAnswer: {target}\nOutput:",
            "Please ask me something about this text: {passage} Your question has the form Where "
            "is the <colour> <thing>? and the right reply to it is {target}.",
            "I am writing a quiz. The players get to know this: {passage} I want them to say "
            "{target} and not anything else. My questions sound like: Where is the green hat?",
            "Ask for the {target} with the words Where is the, a colour and a thing.\n\n"
            "> {passage}",
            "Do not ask who has something, or what somebody has. Ask where it is, as in Where is "
            "the white coat?\n\nFacts: {passage}\nThe reply should be: {target}",
            "{passage}\n\nWhere is the X Y? Put a colour for X and a thing for Y, so that the "
            "question is answered by {target} and by no name of a person.",
        ),
        turned(
            "Read the facts and answer the question with a place.\n\nFacts: {passage}\n"
            "Question: {answer}\nAnswer:",
            "{target}",
        ),
        turned("{passage}\n\nThe answer is the name of one place. {answer}", "{target}"),
    ),
    new_wordings=ask(
        "Someone was told: {passage} Then a question was asked and the reply was {target}. "
        "Write down what was asked, in the form Where is the <colour> <thing>?",
        "The {target} is not what I want from you, I have it already. I want the question that "
        "leads to it, such as: Where is the green hat?\n\nText: {passage}",
        "Find what is in the {target} and turn the fact into a question with where in place of "
        "it. It ends with the colour, the thing and a question mark.\n\nFacts: {passage}",
    ),
    examples=(
        Example(
            {
                "passage": "Tom has the green hat. The old map is in the office. Sue has the "
                "white coat.",
                "target": "office",
            },
            "Where is the old map?",
            "The old map is in the office, so the office answers this question.",
        ),
        Example(
            {
                "passage": "The red bike is in the cabin. Tom has the green hat. Sue has the "
                "white coat.",
                "target": "cabin",
            },
            "Where is the red bike?",
            "The fact about the cabin is that the red bike is in it.",
        ),
    ),
    negatives=(
        Example(
            {
                "passage": "Sue has the white coat. The old map is in the office. Tom has the "
                "green hat.",
                "target": "office",
            },
            "What is in the office?",
            "The answer to that is the old map, but the answer should be the office.",
        ),
    ),
)


def _make_question_colour(dice: Dice, label: str) -> Fields:
    passage, _, colours, objects, _ = _draw(dice)
    i = dice.below(FACTS)
    question = f"What colour is the {objects[i]}?"
    return {"passage": passage, "target": colours[i], "answer": question}


def _rule_question_colour(fields: Mapping[str, str]) -> str:
    things = [thing for _, thing in _owned(fields)] + [thing for thing, _ in _placed(fields)]
    objects = dict(thing.split() for thing in things)
    found = objects.get(fields["target"])
    return f"What colour is the {found}?" if found else ""


QUESTION_COLOUR = MiniTask(
    name="question_colour",
    cluster=CLUSTER,
    kind="generation",
    skills=("question",),
    fields=_FIELDS,
    layout=_LAYOUT,
    make=_make_question_colour,
    rule=_rule_question_colour,
    definitions=(
        "You are given a few facts and a colour. Write the question whose answer is this colour. "
        "It asks for the colour of the thing that has it, in exactly this form: What colour is "
        "the hat?",
        "Find the fact that mentions the given colour and ask for the colour, with the thing of "
        "that fact: What colour is the <thing>?",
        "The answer to a question is known: it is a colour. Write the question. It consists of "
        "the words What colour is the, the thing and a question mark.",
        "Ask which colour a thing has, so that the given colour is the right reply, as in: What "
        "colour is the coat?",
        "Write: What colour is the <thing>?",
    ),
    avoid="Do not mention the given colour, a person or a place in the question.",
    emphasis="The thing stands in the question without its colour.",
    templates=ask(
        "Read the facts and write the question that has the given colour as its answer. Form: "
        "What colour is the <thing>?\n\nFacts: {passage}\nAnswer: {target}\nQuestion:",
        "{passage}\n\nThe answer is {target}, but what was the question? Write it like this "
        "one: What colour is the hat?",
        "Task: a question with what colour, like What colour is the coat?\n"
        "Facts: {passage}\nAnswer: {target}\nOutput:",
        "Please ask me something about this text: {passage} Your question has the form What "
        "colour is the <thing>? and the right reply to it is {target}.",
        "I am writing a quiz. The players get to know this: {passage} I want them to say "
        "{target} and not anything else. My questions sound like: What colour is the hat?",
        "Ask for the colour {target} with the words What colour is the, and a thing.\n\n"
        "> {passage}",
        "Do not ask who has something, or where it is. Ask for its colour, as in What colour is "
        "the coat?\n\nFacts: {passage}\nThe reply should be: {target}",
        "{passage}\n\nWhat colour is the X? Put a thing for X, so that the question is answered "
        "by {target} and by no other colour.",
        "Which of the things is {target}? Do not tell me. Only write the question about its "
        "colour, in the form What colour is the <thing>?\n\nText: {passage}",
        "Facts: {passage}\nQuestion: What colour is the <thing>?\nAnswer: {target}\n\nWrite the "
        "question with the right thing in it.",
    ),
    examples=(
        Example(
            {
                "passage": "Tom has the green hat. The red bike is in the office. Sue has the "
                "white coat.",
                "target": "white",
            },
            "What colour is the coat?",
            "The coat is white, so white answers this question.",
        ),
        Example(
            {
                "passage": "The red bike is in the office. Tom has the green hat. Sue has the "
                "white coat.",
                "target": "red",
            },
            "What colour is the bike?",
            "The only red thing is the bike.",
        ),
    ),
    negatives=(
        Example(
            {
                "passage": "Sue has the white coat. The red bike is in the office. Tom has the "
                "green hat.",
                "target": "green",
            },
            "Who has the green hat?",
            "The answer to that is Tom, but the answer should be green.",
        ),
    ),
)

TASKS = (QUESTION_WHO, QUESTION_WHAT, QUESTION_WHERE, QUESTION_COLOUR)
