"""Checkers of cluster `data_to_text`, written from the definitions alone."""

import re


def _value(fields, key):
    return re.search(rf"(?:^|; ){key}: (\w+)(?= ;|$)", fields["record"]).group(1)


def _fill(pattern):
    """Returns a checker that puts the values of the record where the pattern names their keys."""
    return lambda fields: re.sub(r"<(\w+)>", lambda found: _value(fields, found.group(1)), pattern)


def _sentence_to_record(fields):
    found = re.fullmatch(
        r"(?P<name>\w+) has the (?P<colour>\w+) (?P<thing>\w+) in the (?P<place>\w+)\.",
        fields["sentence"],
    )
    return " ; ".join(f"{key}: {found[key]}" for key in ("name", "thing", "colour", "place"))


CHECKERS = {
    "owner_sentence": _fill("<name> has the <colour> <thing>."),
    "place_sentence": _fill("The <colour> <thing> is in the <place>."),
    "person_place_sentence": _fill("<name> is in the <place> with the <colour> <thing>."),
    "short_sentence": _fill("<name> has the <thing>."),
    "colour_sentence": _fill("The <thing> in the <place> is <colour>."),
    "sentence_to_record": _sentence_to_record,
}
