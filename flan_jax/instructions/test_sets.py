"""Test sets that anybody writes: JSON lines of instructions with the answers that count as right.

    {"instruction": ..., "input": ..., "targets": [...], "options": [...], "id": ...}

`--data=FILE` of `flan-jax eval`, or `--module=data:FILE`, registers the lines of a file, all in the
split "test", as a task of the file's name. Instruction and input, where there is one, are the
prompt, with an empty line between them. Where lines have options these are ranked, and are not
added to the prompt; else an answer is generated. `<name>_fewshot` has other lines of the file
before each (`fewshot`), never the line itself.
"""

import dataclasses
import functools
import hashlib
import os
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flan_jax import files, json_files
from flan_jax.errors import DataError, did_you_mean, quoted
from flan_jax.instructions import cards, checks, jsonl, mixtures, protocols
from flan_jax.instructions.draws import Draws
from flan_jax.instructions.fewshot import Exemplars, FewShot
from flan_jax.instructions.pipelines import Kind, Row
from flan_jax.instructions.registration import register_task, rows_source
from flan_jax.instructions.rendering import AtBuild, Rendered, RenderFn, rank_answers

SPLIT = "test"
FIELDS = ("instruction", "input", "targets", "options", "id")
_COLUMNS: dict[str, Kind] = {
    "inputs": "string", "input": "string", "references": "strings", "answers": "strings"
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class TestSet:
    """A file of lines, read and checked.

    Attributes:
        path: the file.
        rows: one a line: "id", "inputs" (the prompt), "input" (its part of that name),
            "references" (answers that are right) and "answers" (options; none where answers are
            generated).
        digest: hash over the rows.
    """

    __test__ = False  # pytest collects classes by their names

    path: str
    rows: Sequence[Row]
    digest: str

    @property
    def ranked(self) -> bool:
        """Whether options are ranked."""
        return bool(self.rows[0]["answers"])

    def __str__(self) -> str:
        kind = "whose options are ranked" if self.ranked else "whose answers are generated"
        return f"{len(self.rows):,} examples {kind}"


def read_test_set(path: str) -> TestSet:
    """Reads a file.

    Raises:
        DataError: it cannot be read, or a line is wrong; names file, line and field.
    """
    rows: list[Row] = []
    first_line: dict[str, str] = {}
    for line in json_files.read_rows(files.user_path(path)):
        row = _read(line)
        if row["id"] in first_line:
            line.fail("id", f"is {quoted(row['id'])}, as in {first_line[row['id']]}")
        first_line[row["id"]] = line.where.rpartition(", ")[2]
        if rows and bool(rows[0]["answers"]) != bool(row["answers"]):
            line.fail("options", "must be in all lines of a file, or in none")
        rows.append(row)
    if not rows:
        raise DataError(f"{path}: no lines")
    text = "".join(json_files.dumps(row) for row in rows)
    return TestSet(str(path), rows, hashlib.sha256(text.encode()).hexdigest()[:16])


def _read(line: json_files.Fields) -> Row:
    """Returns the row of a line."""
    for field in line.object:
        if field not in FIELDS:
            line.fail(str(field), f"is not known{did_you_mean(str(field), FIELDS)}")
    inputs = _text(line, "instruction", line.text("instruction"))
    more = _text(line, "input", line.text("input")) if line.object.get("input") else ""
    targets = [_text(line, "targets", text) for text in line.texts("targets")]
    options: list[str] = []
    if line.object.get("options") is not None:
        options = [_text(line, "options", text) for text in line.texts("options", least=0)]
        _check_options(line, options, targets)
    number = line.where.rpartition(" ")[2]
    example = _text(line, "id", line.name("id", f"line/{number}"))
    asked = f"{inputs}{jsonl.BETWEEN}{more}" if more else inputs
    return {
        "id": example, "inputs": asked, "input": more, "references": targets, "answers": options
    }  # fmt: skip


def _text(line: json_files.Fields, field: str, text: str) -> str:
    if not text.strip():
        line.fail(field, "must not be blank")
    if not json_files.encodable(text):
        line.fail(field, "holds half of a surrogate pair, which is no text")
    return text


def _check_options(line: json_files.Fields, options: Sequence[str], targets: Sequence[str]) -> None:
    if len(options) < 2:
        line.fail("options", f"must be two or more, found {len(options)}")
    if len(set(options)) < len(options):
        line.fail("options", "must not name one twice")
    for target in targets:
        if target not in options:
            shown = ", ".join(map(quoted, options))
            hint = did_you_mean(target, options)
            line.fail(
                "targets", f"has {quoted(target)}, which is none of the options {shown}{hint}"
            )


def register_test_set(name: str, path: str) -> TestSet:
    """Registers a file as SeqIO tasks `name` and `name_fewshot`, with a card.

    Args:
        name: of the task.
        path: the file.

    Returns:
        What was read.

    Raises:
        DataError: see `read_test_set`; or the name is taken.
    """
    found = read_test_set(path)
    names = (name, f"{name}{protocols.FEWSHOT}")
    for one in names:
        mixtures.check_free(one)
    source = rows_source(lambda split: found.rows, _COLUMNS, {SPLIT: len(found.rows)})
    for one in names:
        fewshot = one != name
        register_task(
            one,
            source=source,
            render=AtBuild(functools.partial(_renderer, found, fewshot)),
            facts={"test_set": found.digest},
            more_facts=FewShot.facts if fewshot else dict,
            ranked=found.ranked,
        )
    options = found.rows[0]["answers"]
    same = all(row["answers"] == options for row in found.rows)
    cards.register_card(
        cards.Card(
            name=name,
            cluster=name,
            kind="classification" if found.ranked else "generation",
            instructions=("Do what the instruction says.",),
            sources=(os.path.basename(path),),
            version=found.digest,
            options=tuple(options) if same else (),
            variants=names,
            module=f"data:{os.path.abspath(files.user_path(path))}",
        )
    )
    checks.declare(name, lambda: _problems(found), lambda: _texts(found))
    return found


def import_file(path: str) -> types.ModuleType:
    """Registers a file under its own name, once, and says so: what `--module=data:FILE` means.

    Raises:
        DataError: see `register_test_set`.
    """
    return jsonl.import_as("data", path, register_test_set)


def _renderer(found: TestSet, fewshot: bool) -> RenderFn:
    before = None
    if fewshot:
        others = [(row["id"], row) for row in found.rows]
        before = FewShot.from_settings(Exemplars.of(f"data {found.digest}", lambda: others))
    return functools.partial(_render, found.ranked, before)


def _render(
    ranked: bool, before: FewShot | None, row: Mapping[str, Any], draws: Draws
) -> Rendered | Sequence[Rendered]:
    references, answers = list(row["references"]), list(row["answers"])
    draft = jsonl.plain_draft(row, [*references, *answers])
    rendered = Rendered(row["inputs"], references[0], "plain", references=references, draft=draft)
    if before is not None:
        rendered = before.prompt(rendered, row["id"], draws, _exemplar)
    return rank_answers(rendered, answers, references) if ranked else rendered


def _exemplar(row: Mapping[str, Any], draws: Draws) -> tuple[str, str]:
    return row["inputs"], draws.choice("answer", list(row["references"]))


def _problems(found: TestSet) -> list[str]:
    asked = [json_files.dumps([row["inputs"], row["answers"]]) for row in found.rows]
    repeated = len(asked) - len(set(asked))
    return [f"{repeated:,} lines ask what others ask"] if repeated else []


def _texts(found: TestSet) -> Iterator[str]:
    for row in found.rows:
        yield from (row["inputs"], *row["references"], *row["answers"])
