"""Cluster `data_to_text`: a record of four facts is told in a sentence.

All tasks but the reverse one get the same record, drawn the same way, so only the instruction tells
which of its facts belong in the sentence and in which form.
"""

import itertools
from collections.abc import Callable, Mapping

from tasks.minilab.lab import Dice, Example, Fields, MiniTask, ask
from tasks.minilab.lexicon import COLOURS, NAMES, OBJECTS, PLACES

CLUSTER = "data_to_text"
HELDOUT = ("colour_sentence", "sentence_to_record")

_FIELDS = ("record",)
_LAYOUT = "{record}"
_KEYS = ("name", "thing", "colour", "place")
# The order of the keys says nothing, so it is drawn for every record.
_ORDERS = tuple(itertools.permutations(_KEYS))


def _facts(dice: Dice) -> Fields:
    return {
        "name": dice.pick(NAMES),
        "thing": dice.pick(OBJECTS),
        "colour": dice.pick(COLOURS),
        "place": dice.pick(PLACES),
    }


def _maker(pattern: str) -> Callable[[Dice, str], Fields]:
    def make(dice: Dice, label: str) -> Fields:
        facts = _facts(dice)
        record = " ; ".join([f"{key}: {facts[key]}" for key in dice.pick(_ORDERS)])
        return {"record": record, "answer": pattern.format_map(facts)}

    return make


def _read(record: str) -> Fields | None:
    """Returns the values of a record by their keys, or None where it is no such record."""
    values = {}
    for part in record.split(" ; "):
        key, _, value = part.partition(": ")
        values[key] = value
    return values if len(values) == len(_KEYS) and all(map(values.get, _KEYS)) else None


def _rule_owner_sentence(fields: Mapping[str, str]) -> str:
    said = _read(fields["record"])
    return " ".join([said["name"], "has the", said["colour"], said["thing"]]) + "." if said else ""


OWNER_SENTENCE = MiniTask(
    name="owner_sentence",
    cluster=CLUSTER,
    kind="generation",
    skills=("sentence",),
    fields=_FIELDS,
    layout=_LAYOUT,
    make=_maker("{name} has the {colour} {thing}."),
    rule=_rule_owner_sentence,
    definitions=(
        "You are given a record with a name, a thing, a colour and a place, in any order. Write "
        "the sentence that says who has what, in exactly this form: Tom has the green hat. The "
        "place is left out.",
        "Turn the record into one sentence: first the name, then the words has the, then the "
        "colour, then the thing, then a full stop.",
        "A record lists four facts. Use three of them to say who the owner is, and say nothing "
        "about the place: <name> has the <colour> <thing>.",
        "Tell who has which thing, and of which colour, as in: Sue has the white coat.",
        "Write: <name> has the <colour> <thing>.",
    ),
    avoid="Do not mention the place, and do not copy the keys of the record into the sentence.",
    emphasis="The colour belongs in the sentence, right before the thing.",
    templates=ask(
        "Write a sentence from this record that says who has what, in the form <name> has the "
        "<colour> <thing>.\n\nRecord: {record}",
        "Record: {record}\n\nTurn the record into a sentence like this one: Tom has the green "
        "hat. Leave the place out.",
        "{record}\n\nWho has what? Answer with a sentence of the form <name> has the <colour> "
        "<thing>.",
        "Task: a sentence on the owner, like Sue has the white coat.\nInput: {record}\nOutput:",
        "Please tell me in a full sentence who owns the thing, the way one says Tom has the "
        "green hat. These are my notes: {record}",
        "My notes say {record} and now I have to write down who the owner is. Yesterday I wrote: "
        "Sue has the white coat. What do I write today?",
        "I do not ask where it is. I ask whose it is. Use the facts of the record to write: "
        "<name> has the <colour> <thing>.\n> {record}",
        "Put the name, the colour and the thing, but not the place, into the pattern X has the "
        "Y Z. (X is the name, Y the colour, Z the thing.)\n\nRecord: {record}",
        "{record} -> <name> has the <colour> <thing>.",
        "From the facts {record} write one sentence. It begins with the name, goes on with has "
        "the, and ends with the colour and the thing.",
    ),
    new_wordings=ask(
        "Make the facts below into a sentence about the owner. Keep the colour, as is done in: "
        "Tom has the green hat.\n\nFacts: {record}",
        "{record}\n\nForget the place, but do not forget the colour. One sentence, with the name "
        "in front: <name> has the <colour> <thing>.",
        "This is known: {record}. So who has it? I would not like to hear where the person is, "
        "only something such as: Sue has the white coat.",
    ),
    examples=(
        Example(
            {"record": "thing: hat ; place: office ; name: Tom ; colour: green"},
            "Tom has the green hat.",
            "The name, the colour and the thing go into the sentence, and the place does not.",
        ),
        Example(
            {"record": "name: Sue ; colour: white ; thing: coat ; place: cabin"},
            "Sue has the white coat.",
            "Sue is the owner, and her coat is white.",
        ),
    ),
    negatives=(
        Example(
            {"record": "colour: white ; name: Sue ; place: cabin ; thing: coat"},
            "Sue has the coat.",
            "The colour is missing: it should be the white coat.",
        ),
        Example(
            {"record": "thing: hat ; name: Tom ; place: office ; colour: green"},
            "Tom has the green hat in the office.",
            "The place is not part of this sentence.",
        ),
    ),
)


def _rule_place_sentence(fields: Mapping[str, str]) -> str:
    said = _read(fields["record"])
    if not said:
        return ""
    return " ".join(["The", said["colour"], said["thing"], "is in the", said["place"]]) + "."


PLACE_SENTENCE = MiniTask(
    name="place_sentence",
    cluster=CLUSTER,
    kind="generation",
    skills=("sentence",),
    fields=_FIELDS,
    layout=_LAYOUT,
    make=_maker("The {colour} {thing} is in the {place}."),
    rule=_rule_place_sentence,
    definitions=(
        "You are given a record with a name, a thing, a colour and a place, in any order. Write "
        "the sentence that says where the thing is, in exactly this form: The green hat is in "
        "the office. The name is left out.",
        "Turn the record into one sentence: the word The, the colour, the thing, then is in the, "
        "then the place and a full stop.",
        "A record lists four facts. Use three of them to say where the thing can be found, and "
        "mention no person: The <colour> <thing> is in the <place>.",
        "Tell which thing is in which place, as in: The white coat is in the cabin.",
        "Write: The <colour> <thing> is in the <place>.",
    ),
    avoid="Do not mention the person, and do not say who has the thing.",
    emphasis="The colour stands right before the thing, and the place comes last.",
    templates=ask(
        "Write a sentence from this record that says where the thing is, in the form The "
        "<colour> <thing> is in the <place>.\n\nRecord: {record}",
        "Record: {record}\n\nTurn the record into a sentence like this one: The green hat is in "
        "the office. Leave the name out.",
        "{record}\n\nWhere is it? Answer with a sentence of the form The <colour> <thing> is in "
        "the <place>.",
        "Task: a sentence on the place, like The white coat is in the cabin.\n"
        "Input: {record}\nOutput:",
        "Please tell me in a full sentence where the thing is, the way one says The green hat is "
        "in the office. These are my notes: {record}",
        "My notes say {record} and now I have to write down where things are. Yesterday I wrote: "
        "The white coat is in the cabin. What do I write today?",
        "I do not ask whose it is. I ask where it is. Use the facts of the record to write: The "
        "<colour> <thing> is in the <place>.\n> {record}",
        "Put the colour, the thing and the place, but not the name, into the pattern The X Y is "
        "in the Z. (X is the colour, Y the thing, Z the place.)\n\nRecord: {record}",
        "{record} -> The <colour> <thing> is in the <place>.",
        "From the facts {record} write one sentence. It begins with The, the colour and the "
        "thing, goes on with is in the, and ends with the place.",
    ),
    new_wordings=ask(
        "Make the facts below into a sentence about the place. Keep the colour, as is done in: "
        "The green hat is in the office.\n\nFacts: {record}",
        "{record}\n\nForget the person, but do not forget the colour. One sentence, with the "
        "place at the end: The <colour> <thing> is in the <place>.",
        "This is known: {record}. So where is it? I would not like to hear who has it, only "
        "something such as: The white coat is in the cabin.",
    ),
    examples=(
        Example(
            {"record": "thing: hat ; place: office ; name: Tom ; colour: green"},
            "The green hat is in the office.",
            "The colour, the thing and the place go into the sentence, and the name does not.",
        ),
        Example(
            {"record": "name: Sue ; colour: white ; thing: coat ; place: cabin"},
            "The white coat is in the cabin.",
            "The coat is white, and its place is the cabin.",
        ),
    ),
    negatives=(
        Example(
            {"record": "colour: white ; name: Sue ; place: cabin ; thing: coat"},
            "Sue has the white coat.",
            "That says who has the coat, but not where it is.",
        ),
        Example(
            {"record": "thing: hat ; name: Tom ; place: office ; colour: green"},
            "The hat is in the office.",
            "The colour is missing: it should be the green hat.",
        ),
    ),
)


def _rule_person_place_sentence(fields: Mapping[str, str]) -> str:
    said = _read(fields["record"])
    if not said:
        return ""
    thing = " ".join(["with the", said["colour"], said["thing"]])
    return " ".join([said["name"], "is in the", said["place"], thing]) + "."


PERSON_PLACE_SENTENCE = MiniTask(
    name="person_place_sentence",
    cluster=CLUSTER,
    kind="generation",
    skills=("sentence",),
    fields=_FIELDS,
    layout=_LAYOUT,
    make=_maker("{name} is in the {place} with the {colour} {thing}."),
    rule=_rule_person_place_sentence,
    definitions=(
        "You are given a record with a name, a thing, a colour and a place, in any order. Write "
        "the sentence that says where the person is, and with what, in exactly this form: Tom is "
        "in the office with the green hat.",
        "Turn the record into one sentence with all its facts: the name, is in the, the place, "
        "with the, the colour, the thing, and a full stop.",
        "A record lists four facts. Use every one of them in a sentence about the person, in the "
        "form <name> is in the <place> with the <colour> <thing>.",
        "Tell where the person is and what is there as well, as in: Sue is in the cabin with the "
        "white coat.",
        "Write: <name> is in the <place> with the <colour> <thing>.",
    ),
    avoid="Do not leave any of the four facts out, and do not write has.",
    emphasis="The place comes before the thing, and the sentence ends with the thing.",
    templates=ask(
        "Write a sentence from this record that says where the person is and with what, in the "
        "form <name> is in the <place> with the <colour> <thing>.\n\nRecord: {record}",
        "Record: {record}\n\nTurn the record into a sentence like this one: Tom is in the office "
        "with the green hat. Leave nothing out.",
        "{record}\n\nWhere is the person, and with which thing? Answer with a sentence of the "
        "form <name> is in the <place> with the <colour> <thing>.",
        "Task: a sentence on the person and the place, like Sue is in the cabin with the white "
        "coat.\nInput: {record}\nOutput:",
        "Please tell me in a full sentence where the person is, the way one says Tom is in the "
        "office with the green hat. These are my notes: {record}",
        "My notes say {record} and now I have to write down where people are. Yesterday I wrote: "
        "Sue is in the cabin with the white coat. What do I write today?",
        "It is not enough to say who has what. Say where the person is, too. Use the facts of "
        "the record to write: <name> is in the <place> with the <colour> <thing>.\n> {record}",
        "Put all four facts, not just three, into the pattern A is in the B with the C D. (A is "
        "the name, B the place, C the colour, D the thing.)\n\nRecord: {record}",
        "{record} -> <name> is in the <place> with the <colour> <thing>.",
        "From the facts {record} write one sentence. It begins with the name, then come is in "
        "the and the place, then with the, and last the colour and the thing.",
    ),
    new_wordings=ask(
        "Make the facts below into a sentence about the person. All of them are used, as is done "
        "in: Tom is in the office with the green hat.\n\nFacts: {record}",
        "{record}\n\nForget no fact. One sentence, with the place in the middle and not at the "
        "end: <name> is in the <place> with the <colour> <thing>.",
        "This is known: {record}. So where should I look for the person? Do not tell me where the "
        "thing is, but something such as: Sue is in the cabin with the white coat.",
    ),
    examples=(
        Example(
            {"record": "thing: hat ; place: office ; name: Tom ; colour: green"},
            "Tom is in the office with the green hat.",
            "All four facts are used: the name, the place, the colour and the thing.",
        ),
        Example(
            {"record": "name: Sue ; colour: white ; thing: coat ; place: cabin"},
            "Sue is in the cabin with the white coat.",
            "Sue is the person, the cabin is where she is, and the white coat is with her.",
        ),
    ),
    negatives=(
        Example(
            {"record": "colour: white ; name: Sue ; place: cabin ; thing: coat"},
            "Sue has the white coat.",
            "The place is missing, and the sentence should say is in the, not has.",
        ),
        Example(
            {"record": "thing: hat ; name: Tom ; place: office ; colour: green"},
            "Tom is with the green hat in the office.",
            "The place comes right after the name and is in the, before the thing.",
        ),
    ),
)


def _rule_short_sentence(fields: Mapping[str, str]) -> str:
    said = _read(fields["record"])
    return " ".join([said["name"], "has the", said["thing"]]) + "." if said else ""


SHORT_SENTENCE = MiniTask(
    name="short_sentence",
    cluster=CLUSTER,
    kind="generation",
    skills=("sentence",),
    fields=_FIELDS,
    layout=_LAYOUT,
    make=_maker("{name} has the {thing}."),
    rule=_rule_short_sentence,
    definitions=(
        "You are given a record with a name, a thing, a colour and a place, in any order. Write "
        "the short sentence that says who has the thing, in exactly this form: Tom has the hat. "
        "The colour and the place are left out.",
        "Turn the record into one short sentence: first the name, then the words has the, then "
        "the thing and a full stop.",
        "A record lists four facts. Only two of them are wanted, the name and the thing, and "
        "neither the colour nor the place is said: <name> has the <thing>.",
        "Tell in four words who has which thing, as in: Sue has the coat.",
        "Write: <name> has the <thing>.",
    ),
    avoid="Do not mention the colour or the place.",
    emphasis="The sentence has four words: the name, has, the, and the thing.",
    templates=ask(
        "Write a short sentence from this record that says who has the thing, in the form <name> "
        "has the <thing>.\n\nRecord: {record}",
        "Record: {record}\n\nTurn the record into a short sentence like this one: Tom has the "
        "hat. Leave the colour and the place out.",
        "{record}\n\nWho has what, in four words? Answer with a sentence of the form <name> has "
        "the <thing>.",
        "Task: a short sentence on the owner, like Sue has the coat.\nInput: {record}\nOutput:",
        "Please tell me in a few words who owns the thing, the way one says Tom has the hat. "
        "These are my notes: {record}",
        "My notes say {record} and I have room for four words only. Yesterday I wrote: Sue has "
        "the coat. What do I write today?",
        "I do not ask which colour it is. I only ask who has it. Use the facts of the record to "
        "write: <name> has the <thing>.\n> {record}",
        "Put the name and the thing, but not the colour and not the place, into the pattern X "
        "has the Y. (X is the name, Y the thing.)\n\nRecord: {record}",
        "{record} -> <name> has the <thing>.",
        "From the facts {record} write one short sentence. It begins with the name, goes on with "
        "has the, and ends with the thing. No other fact is used.",
    ),
    new_wordings=ask(
        "Make the facts below into the shortest sentence about the owner. It has no colour, as "
        "is seen in: Tom has the hat.\n\nFacts: {record}",
        "{record}\n\nForget the colour and forget the place. One sentence, with the name in "
        "front: <name> has the <thing>.",
        "This is known: {record}. So who has it? I would not like to hear its colour, or where "
        "the person is, only something such as: Sue has the coat.",
    ),
    examples=(
        Example(
            {"record": "thing: hat ; place: office ; name: Tom ; colour: green"},
            "Tom has the hat.",
            "Only the name and the thing are used. The colour and the place are left out.",
        ),
        Example(
            {"record": "name: Sue ; colour: white ; thing: coat ; place: cabin"},
            "Sue has the coat.",
            "Sue is the owner and the thing is a coat. Its colour is not said.",
        ),
    ),
    negatives=(
        Example(
            {"record": "colour: white ; name: Sue ; place: cabin ; thing: coat"},
            "Sue has the white coat.",
            "The colour is not part of this short sentence.",
        ),
        Example(
            {"record": "thing: hat ; name: Tom ; place: office ; colour: green"},
            "The hat is in the office.",
            "The sentence should say who has the hat, and nothing about the place.",
        ),
    ),
)


def _rule_colour_sentence(fields: Mapping[str, str]) -> str:
    said = _read(fields["record"])
    if not said:
        return ""
    return " ".join(["The", said["thing"], "in the", said["place"], "is", said["colour"]]) + "."


COLOUR_SENTENCE = MiniTask(
    name="colour_sentence",
    cluster=CLUSTER,
    kind="generation",
    skills=("sentence",),
    fields=_FIELDS,
    layout=_LAYOUT,
    make=_maker("The {thing} in the {place} is {colour}."),
    rule=_rule_colour_sentence,
    definitions=(
        "You are given a record with a name, a thing, a colour and a place, in any order. Write "
        "the sentence that says which colour the thing has, in exactly this form: The hat in the "
        "office is green. The name is left out.",
        "Turn the record into one sentence: the word The, the thing, then in the, the place, "
        "then is, and last the colour and a full stop.",
        "A record lists four facts. Use three of them to say which colour the thing has, and "
        "mention no person: The <thing> in the <place> is <colour>.",
        "Tell the colour of the thing in its place, as in: The coat in the cabin is white.",
        "Write: The <thing> in the <place> is <colour>.",
    ),
    avoid="Do not mention the person, and do not put the colour before the thing.",
    emphasis="The colour is the last word of the sentence.",
    templates=ask(
        "Write a sentence from this record that says which colour the thing has, in the form The "
        "<thing> in the <place> is <colour>.\n\nRecord: {record}",
        "Record: {record}\n\nTurn the record into a sentence like this one: The hat in the "
        "office is green. Leave the name out.",
        "{record}\n\nWhich colour is it? Answer with a sentence of the form The <thing> in the "
        "<place> is <colour>.",
        "Task: a sentence on the colour, like The coat in the cabin is white.\n"
        "Input: {record}\nOutput:",
        "Please tell me in a full sentence which colour the thing has, the way one says The hat "
        "in the office is green. These are my notes: {record}",
        "My notes say {record} and now I have to write down the colours. Yesterday I wrote: The "
        "coat in the cabin is white. What do I write today?",
        "I do not ask whose it is. I ask which colour it is. Use the facts of the record to "
        "write: The <thing> in the <place> is <colour>.\n> {record}",
        "Put the thing, the place and the colour, but not the name, into the pattern The X in "
        "the Y is Z. (X is the thing, Y the place, Z the colour.)\n\nRecord: {record}",
        "{record} -> The <thing> in the <place> is <colour>.",
        "From the facts {record} write one sentence. It begins with The and the thing, goes on "
        "with in the and the place, and ends with is and the colour.",
    ),
    examples=(
        Example(
            {"record": "thing: hat ; place: office ; name: Tom ; colour: green"},
            "The hat in the office is green.",
            "The thing, its place and its colour go into the sentence, and the name does not.",
        ),
        Example(
            {"record": "name: Sue ; colour: white ; thing: coat ; place: cabin"},
            "The coat in the cabin is white.",
            "The coat is in the cabin, and the sentence ends with its colour.",
        ),
    ),
    negatives=(
        Example(
            {"record": "colour: white ; name: Sue ; place: cabin ; thing: coat"},
            "The white coat is in the cabin.",
            "That says where the coat is. The colour should be what the sentence ends with.",
        ),
    ),
)


def _make_sentence_to_record(dice: Dice, label: str) -> Fields:
    facts = _facts(dice)
    return {
        "sentence": "{name} has the {colour} {thing} in the {place}.".format_map(facts),
        "answer": " ; ".join([f"{key}: {facts[key]}" for key in _KEYS]),
    }


def _rule_sentence_to_record(fields: Mapping[str, str]) -> str:
    words = fields["sentence"].removesuffix(".").split()
    if len(words) != 8 or [words[i] for i in (1, 2, 5, 6)] != ["has", "the", "in", "the"]:
        return ""
    return f"name: {words[0]} ; thing: {words[4]} ; colour: {words[3]} ; place: {words[7]}"


SENTENCE_TO_RECORD = MiniTask(
    name="sentence_to_record",
    cluster=CLUSTER,
    kind="generation",
    skills=("sentence",),
    fields=("sentence",),
    layout="{sentence}",
    make=_make_sentence_to_record,
    rule=_rule_sentence_to_record,
    definitions=(
        "You are given a sentence that says who has which thing, of which colour, in which "
        "place. Write its facts as a record in exactly this form: name: Tom ; thing: hat ; "
        "colour: green ; place: office",
        "Turn the sentence into a record of four parts: name, thing, colour and place, in this "
        "order. After every key come a colon and the word; between the parts stands ' ; '.",
        "The sentence holds four facts. List them, and no other words, in the form name: <name> "
        "; thing: <thing> ; colour: <colour> ; place: <place>",
        "Take the sentence apart, as in: name: Sue ; thing: coat ; colour: white ; place: cabin",
    ),
    avoid="Do not write a sentence, and do not put a full stop at the end.",
    emphasis="The thing comes before the colour in the record, but after it in the sentence.",
    templates=ask(
        "Write the facts of this sentence as a record, in the form name: <name> ; thing: <thing> "
        "; colour: <colour> ; place: <place>\n\nSentence: {sentence}",
        "Sentence: {sentence}\n\nTurn the sentence into a record like this one: name: Tom ; "
        "thing: hat ; colour: green ; place: office",
        "{sentence}\n\nWhich facts does the sentence hold? Answer with a record of the form "
        "name: <name> ; thing: <thing> ; colour: <colour> ; place: <place>",
        "Task: a record, like name: Sue ; thing: coat ; colour: white ; place: cabin\n"
        "Input: {sentence}\nOutput:",
        "Please write for me the record of this sentence, the way one writes name: Tom ; thing: "
        "hat ; colour: green ; place: office for another. The sentence is: {sentence}",
        "I heard this: {sentence} Now I have to write it down as a record. Yesterday I wrote: "
        "name: Sue ; thing: coat ; colour: white ; place: cabin. What do I write today, without "
        "a full stop?",
        "I do not want a sentence. I want the record behind it: name: <name> ; thing: <thing> ; "
        "colour: <colour> ; place: <place>\n> {sentence}",
        "Put the facts of the sentence into the pattern name: A ; thing: B ; colour: C ; place: "
        "D and do not change the order of the four keys.\n\nSentence: {sentence}",
        "{sentence} -> name: <name> ; thing: <thing> ; colour: <colour> ; place: <place>",
        "From the sentence / {sentence} / make a record. It begins with name: and goes on with "
        "thing: , colour: and place: , each with its word. Write ' ; ' between the parts.",
    ),
    examples=(
        Example(
            {"sentence": "Tom has the green hat in the office."},
            "name: Tom ; thing: hat ; colour: green ; place: office",
            "Each of the four facts stands after its key, in the order name, thing, colour, place.",
        ),
        Example(
            {"sentence": "Sue has the white coat in the cabin."},
            "name: Sue ; thing: coat ; colour: white ; place: cabin",
            "The thing is a coat, its colour is white, and Sue has it in the cabin.",
        ),
    ),
    negatives=(
        Example(
            {"sentence": "Sue has the white coat in the cabin."},
            "name: Sue ; colour: white ; thing: coat ; place: cabin",
            "The keys are in the order of the sentence, but the thing should come before the "
            "colour.",
        ),
    ),
)

TASKS = (
    OWNER_SENTENCE,
    PLACE_SENTENCE,
    PERSON_PLACE_SENTENCE,
    SHORT_SENTENCE,
    COLOUR_SENTENCE,
    SENTENCE_TO_RECORD,
)
