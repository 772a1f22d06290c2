"""Sentiment: does somebody speak well or badly of something?"""

import html
import re

from flan_jax import metrics
from tasks.flan.common import Dataset, Fields, Row, Template, splits

CLUSTER = "sentiment"

# TFDS: 0 is negative and 1 is positive, but for Sentiment140.
_OPTIONS = ("negative", "positive")
_TWEETS = {0: "negative", 4: "positive"}


def _judged(row: Row, field: str, text: str) -> Fields | None:
    """Fields of a row whose label is the number of an option."""
    label, text = int(row["label"]), text.strip()
    if label < 0 or not text:
        return None
    feeling = ("dissatisfied", "satisfied")[label]
    return {field: text, "feeling": feeling, "answer": _OPTIONS[label]}


def _read_imdb(row: Row) -> Fields | None:
    return _judged(row, "review", re.sub(r"\s*<br\s*/?>\s*", "\n", row["text"]))


def _read_tweet(row: Row) -> Fields | None:
    answer, tweet = _TWEETS.get(int(row["polarity"])), html.unescape(row["text"]).strip()
    if answer is None or not tweet:
        return None
    return {"tweet": tweet, "mood": "good" if answer == "positive" else "bad", "answer": answer}


def _read_yelp(row: Row) -> Fields | None:
    # As the CSV has it: a quote is two, with a backslash before them; a new line is \n.
    return _judged(row, "review", re.sub(r'\\?"{1,2}', '"', row["text"]).replace("\\n", "\n"))


def _read_sst2(row: Row) -> Fields | None:
    return _judged(row, "sentence", row["sentence"])


_IMDB_TEMPLATES = (
    Template(
        "Here is what a viewer wrote about a film.\n\n{review}\n\n"
        "Is the viewer's overall opinion negative or positive?\n{options_}",
        "{answer}",
    ),
    Template(
        "Classify the sentiment of this IMDb review.\n\n{review}\n\n{options_}\nSentiment:",
        "{answer}",
    ),
    Template(
        "A cinema prints quotations from reviews on its posters, but only from favourable ones. "
        "To help with sorting, label the review below as negative or positive.\n\n"
        "{review}\n\n{options_}",
        "{answer}",
    ),
    Template("{review}\n\nOverall verdict?\n{options_}", "{answer}"),
    Template(
        "Does the following writer recommend the film or warn people off it? Answer "
        '"positive" for a recommendation and "negative" for a warning.\n\n'
        "{review}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "My friend sent me this write-up of a movie and I can't be bothered to read all of it. "
        "Just tell me, is it positive or negative?\n\n---\n{review}\n---\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Read the review, then choose the word that describes its attitude to the film.\n\n"
        "REVIEW\n{review}\n\n{options_}\n\nANSWER:",
        "{answer}",
    ),
    Template(
        "Question: taken as a whole, what is the tone of the film review below?\n"
        "Review: {review}\n\n{options_}\nAnswer:",
        "{answer}",
    ),
    Template(
        "Write a {answer} review of a film, the way a viewer might post it on the web.",
        "{review}",
        reversed=True,
    ),
    Template(
        "Invent a viewer's review of a film. Below it, state whether the review is negative or "
        "positive.",
        "{review}\n\nThe review is {answer}.",
        reversed=True,
    ),
)

_SENTIMENT140_TEMPLATES = (
    Template("{tweet}\n\nIs the mood of this tweet negative or positive?\n{options_}", "{answer}"),
    Template("Tweet: {tweet}\n\nWhat kind of feeling does it express?\n{options_}", "{answer}"),
    Template(
        'Somebody posted "{tweet}" on Twitter. Would you call this message positive or '
        "negative?\n\n{options_}",
        "{answer}",
    ),
    Template(
        "We run a help desk and want unhappy posts to be answered first. Mark the post below as "
        "negative if its author is unhappy, and as positive if its author is happy.\n\n"
        "Post: {tweet}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Sentiment analysis of short messages\n\nMessage: {tweet}\n{options_}\nSentiment:",
        "{answer}",
    ),
    Template(
        "happy or grumpy? say positive for happy, negative for grumpy\n\n> {tweet}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "If you had to draw a face after the next tweet, would it be smiling or frowning? A smile "
        "counts as positive and a frown as negative.\n\n{tweet}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "A linguist who annotates tweets by hand has got to this one:\n{tweet}\n"
        "Which sentiment should she write down for it?\n\n{options_}",
        "{answer}",
    ),
    Template("Write a tweet whose sentiment is {answer}.", "{tweet}", reversed=True),
    Template(
        "Somebody in a {mood} mood picks up the phone to tell the world on Twitter. What might the "
        "tweet say?",
        "{tweet}",
        reversed=True,
    ),
)

_YELP_TEMPLATES = (
    Template("{review}\n\nIs this Yelp review negative or positive?\n{options_}", "{answer}"),
    Template(
        "A customer left the following review on Yelp:\n\n{review}\n\n"
        "What is the customer's view of the business?\n{options_}",
        "{answer}",
    ),
    Template(
        "Going by the wording alone, did this reviewer hand out few stars (negative) or many "
        "(positive)?\n\n{review}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "You own the place that is reviewed here:\n\n{review}\n\nShould you be pleased? Answer "
        '"positive" if the review speaks for your business, "negative" if it speaks against it.\n'
        "{options_}",
        "{answer}",
    ),
    Template(
        "Text: {review}\n\nTask: name the polarity of the text.\n{options_}\nPolarity:",
        "{answer}",
    ),
    Template(
        "should i go there or not?? this is what someone on yelp says:\n{review}\n\n"
        "so, positive or negative?\n{options_}",
        "{answer}",
    ),
    Template(
        "Decide whether the customer came away satisfied (positive) or dissatisfied (negative)."
        "\n\nThe customer's account:\n{review}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Reviews are being sorted into two piles, complaints (negative) and compliments "
        "(positive). Here comes the next one. Which pile does it belong on?\n\n"
        "{review}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Write a Yelp review by a customer who is {feeling} with a business.",
        "{review}",
        reversed=True,
    ),
    Template(
        "For a demonstration we need made-up customer reviews. Please supply a {answer} one, of a "
        "restaurant, a shop or some other service.",
        "{review}",
        reversed=True,
    ),
)

_SST2_TEMPLATES = (
    Template(
        "{sentence}\n\nIs this excerpt from a film review negative or positive?\n{options_}",
        "{answer}",
    ),
    Template('What sentiment does "{sentence}" convey?\n{options_}', "{answer}"),
    Template(
        "A film critic is quoted below. Name the attitude of the quotation.\n\n"
        "Quotation: {sentence}\n{options_}",
        "{answer}",
    ),
    Template(
        "Label the snippet as negative or positive. It is cut from a movie review and may be no "
        "more than a few words.\n\nSnippet: {sentence}\n\n{options_}\nLabel:",
        "{answer}",
    ),
    Template("Thumbs up (positive) or thumbs down (negative)?\n{sentence}\n{options_}", "{answer}"),
    Template(
        "Exercise. The words below come from a newspaper's film page. State whether they praise "
        "(positive) or find fault (negative).\n\n{sentence}\n\n{options_}",
        "{answer}",
    ),
    Template(
        'Suppose a critic has written "{sentence}" about your new film. Is that good press or '
        "bad? Reply positive for good press, negative for bad.\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Which label suits the line from a review that you see at the end, negative or "
        "positive?\n{options_}\n\nLine: {sentence}",
        "{answer}",
    ),
    Template("Write a few words about a film that sound {answer}.", "{sentence}", reversed=True),
    Template(
        "A magazine lists what critics say of the films of the week, each remark marked as "
        "negative or positive. Complete the entry.\n\nMark: {answer}\nRemark:",
        "{sentence}",
        reversed=True,
    ),
)

DATASETS = (
    Dataset(
        name="imdb_reviews",
        title="IMDb reviews",
        cluster=CLUSTER,
        tfds="imdb_reviews/plain_text:1.0.0",
        splits=splits("train[:-200]", "train[-200:]", "test"),
        read=_read_imdb,
        fields=("review",),
        plain="{review}",
        instruction="Decide whether a review of a film is negative or positive.",
        templates=_IMDB_TEMPLATES,
        options=_OPTIONS,
        metrics=(metrics.exact_match_metric,),
        notes="The HTML tags <br /> become line breaks.",
    ),
    Dataset(
        name="sentiment140",
        title="Sentiment140",
        cluster=CLUSTER,
        tfds="sentiment140:1.0.0",
        splits=splits("train[:30000]", "train[-200:]", "test"),
        read=_read_tweet,
        fields=("tweet", "mood"),
        plain="{tweet}",
        instruction="Decide whether the sentiment of a tweet is negative or positive.",
        templates=_SENTIMENT140_TEMPLATES,
        options=_OPTIONS,
        metrics=(metrics.exact_match_metric,),
        notes="Polarity 0 is negative and 4 is positive; rows of any other polarity are dropped, "
        "so the neutral tweets of the test split (2) do not count as negative. HTML entities are "
        "replaced by their characters.",
    ),
    Dataset(
        name="yelp_polarity_reviews",
        title="Yelp Polarity Reviews",
        cluster=CLUSTER,
        tfds="yelp_polarity_reviews:0.2.0",
        splits=splits("train[:30000]", "train[-200:]", "test"),
        read=_read_yelp,
        fields=("review", "feeling"),
        plain="{review}",
        instruction="Decide whether a customer's review of a business is negative or positive.",
        templates=_YELP_TEMPLATES,
        options=_OPTIONS,
        metrics=(metrics.exact_match_metric,),
        notes="TFDS leaves the escapes of the CSV in the text: doubled quotes, with or without a "
        "backslash, become one quote, and \\n becomes a line break.",
    ),
    Dataset(
        name="sst2",
        title="SST-2",
        cluster=CLUSTER,
        tfds="glue/sst2:2.0.0",
        splits=splits("train[:30000]", "train[-200:]", "validation"),
        read=_read_sst2,
        fields=("sentence",),
        plain="{sentence}",
        instruction="Decide whether words from a review of a film are negative or positive.",
        templates=_SST2_TEMPLATES,
        options=_OPTIONS,
        metrics=(metrics.exact_match_metric,),
        notes="The training split holds phrases as well as whole sentences, so the 200 rows that "
        "are kept for validation may be parts of others. The text stays in tokens and lower case.",
    ),
)
