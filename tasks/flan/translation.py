"""Translation: the same text in another language."""

import dataclasses
import functools
from typing import Any

from flan_jax import metrics
from tasks.flan.common import Dataset, Row, Template, splits, texts

CLUSTER = "translation"

_EMPTY = "Pairs with an empty side are dropped. "


def _read_pair(row: Row, *, source: str, target: str, field: str) -> dict[str, Any] | None:
    """Reads the pair of a source text, under the name `field`, and its translation."""
    pair = texts(row, **{field: source, "answer": target})
    return pair if all(pair.values()) else None


_PARA_CRAWL_TEMPLATES = (
    Template("{english}\n\nTranslate the text above into Spanish.", "{answer}"),
    Template("{english}\n\nAnd now the same in Spanish, please.", "{answer}"),
    Template(
        "You look after the website of a company that is opening offices in Spain. This is on the "
        "English site:\n{english}\n\nWrite what should be on the Spanish site.",
        "{answer}",
    ),
    Template("[English] {english}\n[Spanish]", "{answer}"),
    Template("Put this Spanish text into English.\n\n{answer}", "{english}", reversed=True),
    Template('Give the Spanish for "{english}" and write nothing but the translation.', "{answer}"),
    Template(
        "A friend of mine in Bogotá doesn't read English. Can you put this into Spanish for her? "
        "{english}",
        "{answer}",
    ),
    Template(
        '"{answer}"\n\nI came across this on a Spanish-language website. What does it say in '
        "English?",
        "{english}",
        reversed=True,
    ),
    Template(
        "Below is a piece of text from the web. Render it in Spanish: keep names and figures as "
        "they are, leave nothing out, and add nothing of your own.\n\n---\n{english}\n---",
        "{answer}",
    ),
    Template(
        "Spanish course, final exam. Write a complete English translation of the passage.\n\n"
        "Passage: {answer}\n\nTranslation:",
        "{english}",
        reversed=True,
    ),
)

_WMT14_TEMPLATES = (
    Template("Translate this English text into French:\n\n{english}", "{answer}"),
    Template("Traduisez le texte suivant en français.\n\n{english}", "{answer}"),
    Template(
        "Someone says the following in English at an international meeting. What does the "
        "interpreter say to those who listen in French?\n\n{english}",
        "{answer}",
    ),
    Template("Source (English): {english}\nTarget (French):", "{answer}"),
    Template("This is in French; write it in English.\n{answer}", "{english}", reversed=True),
    Template('"{english}"\n\nWhat would that be in French?', "{answer}"),
    Template(
        "The editor needs a French version of this passage. It has to read as though it had been "
        "written in French from the start, and it has to say all that the English says.\n\n"
        "{english}",
        "{answer}",
    ),
    Template(
        "{answer}\n\nMy French is not good enough for this. Could you tell me in English what it "
        "says?",
        "{english}",
        reversed=True,
    ),
    Template("Write the French equivalent of: {english}", "{answer}"),
    Template(
        "A Canadian agency publishes all its texts in both official languages. One of them goes "
        "like this in French:\n\n{answer}\n\nHow might the English text go?",
        "{english}",
        reversed=True,
    ),
)

# LANGUAGE stands for the name of the language, which must be one that takes "a" before it.
_WMT16_PATTERNS = (
    Template("Translate this LANGUAGE text into English.\n\n{source}", "{answer}"),
    Template(
        "{source}\n\nWhat does the LANGUAGE above mean in English? Give a full translation.",
        "{answer}",
    ),
    Template("Original (LANGUAGE): {source}\nEnglish version:", "{answer}"),
    Template(
        "A reporter would like to quote a LANGUAGE text in an article for English readers. This is "
        'how it goes:\n\n"{source}"\n\nHow should the quotation read in English?',
        "{answer}",
    ),
    Template("In LANGUAGE, please: {answer}", "{source}", reversed=True),
    Template(
        "Somebody sent me this, but I don't know any LANGUAGE. Would you translate it into English "
        "for me, please?\n{source}",
        "{answer}",
    ),
    Template(
        "LANGUAGE to English, written test. Marks are given for accuracy and for natural English. "
        "Hand in the translation only.\n\nText: {source}\n\nTranslation:",
        "{answer}",
    ),
    Template(
        "English text:\n{answer}\n\nWrite a LANGUAGE text that has the same meaning.",
        "{source}",
        reversed=True,
    ),
    Template("Turn this into English: {source}", "{answer}"),
    Template(
        "You grew up speaking LANGUAGE and now translate the news for a broadcaster at home. "
        "Next on your desk, from an English-speaking agency:\n\n{answer}\n\nWrite your "
        "translation.",
        "{source}",
        reversed=True,
    ),
)


def _wmt16(code: str, language: str, more_notes: str = "") -> Dataset:
    """Returns the dataset of a language and English."""
    return Dataset(
        name=f"wmt16_translate_{code}en",
        title=f"WMT'16 {language}-English",
        cluster=CLUSTER,
        tfds=f"wmt16_translate/{code}-en:1.0.0",
        splits=splits("train[:30000]", "validation[:200]", "test"),
        read=functools.partial(_read_pair, source=code, target="en", field="source"),
        fields=("source",),
        plain="{source}",
        instruction=f"Translate a text from {language} into English.",
        templates=tuple(
            dataclasses.replace(pattern, inputs=pattern.inputs.replace("LANGUAGE", language))
            for pattern in _WMT16_PATTERNS
        ),
        metrics=(metrics.bleu_metric,),
        language=code,
        notes=(
            f"{_EMPTY}Earlier versions went both ways; here the task is {language} to English, and "
            f"English to {language} is for training only, in the reversed templates.{more_notes}"
        ),
    )


DATASETS = (
    Dataset(
        name="para_crawl_enes",
        title="ParaCrawl English-Spanish",
        cluster=CLUSTER,
        tfds="para_crawl/enes:1.2.0",
        splits=splits("train[:30000]", "train[-1200:-1000]", "train[-1000:]"),
        read=functools.partial(_read_pair, source="en", target="es", field="english"),
        fields=("english",),
        plain="{english}",
        instruction="Translate a text from English into Spanish.",
        templates=_PARA_CRAWL_TEMPLATES,
        metrics=(metrics.bleu_metric,),
        licence="CC0-1.0 (the packaging; the texts belong to their websites)",
        notes=(
            f"{_EMPTY}Earlier versions went both ways; here the task is English to Spanish, and "
            "Spanish to English is for training only, in the reversed templates."
        ),
    ),
    Dataset(
        name="wmt14_enfr",
        title="WMT'14 English-French",
        cluster=CLUSTER,
        tfds="wmt14_translate/fr-en:1.0.0",
        splits=splits("train[:30000]", "validation[:200]", "test"),
        read=functools.partial(_read_pair, source="en", target="fr", field="english"),
        fields=("english",),
        plain="{english}",
        instruction="Translate a text from English into French.",
        templates=_WMT14_TEMPLATES,
        metrics=(metrics.bleu_metric,),
        notes=(
            f"{_EMPTY}Earlier versions went both ways; here the task is English to French, and "
            "French to English is for training only, in the reversed templates."
        ),
    ),
    _wmt16("de", "German"),
    _wmt16("tr", "Turkish"),
    _wmt16(
        "cs",
        "Czech",
        " TFDS needs a file fetched by hand, czeng16pre.deduped-ignoring-sections.txt.gz.",
    ),
    _wmt16(
        "fi",
        "Finnish",
        " The test split of TFDS is newstest2016 and newstestB2016 together, and its rows do not "
        "tell which is which, so BLEU on it is not comparable with that on newstest2016.",
    ),
    _wmt16("ro", "Romanian"),
    _wmt16("ru", "Russian", " TFDS needs a file fetched by hand, 1mcorpus.zip."),
)
