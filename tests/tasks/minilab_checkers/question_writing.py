"""Checkers of cluster `question_writing`, written from the definitions alone."""

import re


def _ask(question, fact):
    """Returns a checker: what a fact with the target in it says is put into the question."""

    def check(fields):
        pattern = fact.replace("TARGET", re.escape(fields["target"]))
        found = re.findall(pattern, fields["passage"])
        return question.format(found[0]) if len(found) == 1 else ""

    return check


CHECKERS = {
    "question_who": _ask("Who has the {}?", r"\bTARGET has the (\w+ \w+)\."),
    "question_what": _ask("What does {} have?", r"(\w+) has the TARGET\."),
    "question_where": _ask("Where is the {}?", r"The (\w+ \w+) is in the TARGET\."),
    "question_colour": _ask("What colour is the {}?", r"[Tt]he TARGET (\w+)"),
}
