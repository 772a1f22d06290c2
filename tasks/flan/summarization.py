"""Summarization: mails, news, chats, opinions and guides in fewer words; and topics of news."""

import html
import re

from flan_jax import metrics
from tasks.flan.common import Dataset, Fields, Row, Template, splits, texts, tidy

CLUSTER = "summarization"

_ROUGE = (metrics.rouge_l_metric, metrics.rouge_metric)


def _paragraphs(text: str) -> str:
    """Returns a text without blank lines and without spaces around its lines."""
    return "\n".join(filter(None, map(str.strip, text.splitlines())))


def _numbered(lines: list[str]) -> str:
    """Returns lines as a numbered list."""
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, start=1))


def _complete(fields: dict[str, str]) -> Fields | None:
    """Returns the fields, or None where one of them is empty."""
    return fields if all(fields.values()) else None


def _read_aeslc(row: Row) -> Fields | None:
    return _complete({"email": tidy(row["email_body"]), "answer": tidy(row["subject_line"])})


_AESLC_TEMPLATES = (
    Template("Write a subject line for this e-mail.\n\n{email}", "{answer}"),
    Template("{email}\n\nWhat would be a fitting subject for the e-mail above?", "{answer}"),
    Template(
        "You assist a manager who always forgets to fill in the subject field. This is the message "
        "that is about to go out:\n{email}\n\nFill in the field with a few words.",
        "{answer}",
    ),
    Template(
        "The text of a message follows. Reduce it to a phrase that can serve as its subject.\n\n"
        "Text: {email}\nSubject:",
        "{answer}",
    ),
    Template(
        "Here's an email I'm about to send: {email}\n\nAny idea what I should put as the subject? "
        "Keep it short, please.",
        "{answer}",
    ),
    Template("Message: {email}\n\nIn a handful of words, what is it about?", "{answer}"),
    Template(
        "An inbox shows nothing of a message but its subject. Which subject would tell the "
        "recipient what the following one is about?\n\n{email}",
        "{answer}",
    ),
    Template(
        "BODY OF THE E-MAIL\n{email}\n\nTASK\nSupply the missing subject line. Reply with the line "
        "and nothing else.",
        "{answer}",
    ),
    Template(
        "Subject: {answer}\n\nWrite the e-mail that goes with this subject.",
        "{email}",
        reversed=True,
    ),
    Template(
        'Somebody in an office received an e-mail with the subject "{answer}". What might it have '
        "said? Make up the full text.",
        "{email}",
        reversed=True,
    ),
)

# What stands before the text of an article: "By. Jo Doe.", "PUBLISHED:. 06:40 EST, 5 May 2013.",
# "Paris, France (CNN) --". Version 3.4.0 writes a period after every line, with no space before it.
_HEAD = 400
_BYLINE = re.compile(r"By\s?\.\s.{1,60}?\.\s+(?:and\b.{1,60}?\.\s+)?")
_STAMP = re.compile(
    r"(?:PUBLISHED|UPDATED|CREATED|Last updated at)\b.{1,60}?\b(?:19|20)\d\d\b\s?\.?\s*"
)
_DATELINE = re.compile(
    r"^[^()]{0,60}\((?![DR]-)[A-Z][^()]{1,30}\)\s*(?:--|[–—])\s*"
    r"|\((?:CNN|Reuters|AP|AFP)\b[^()]{0,20}\)\s*(?:--|[–—])\s*"
    r"|\(CNN(?:[ .][^()]{0,20}|Money)?\)\s*"
)


def _without_head(article: str) -> str:
    """Returns an article without byline, times of publication and dateline."""
    if byline := _BYLINE.match(article):
        article = article[byline.end() :]
    if stamps := list(_STAMP.finditer(article, 0, _HEAD)):
        article = article[stamps[-1].end() :]
    if dateline := _DATELINE.search(article, 0, _HEAD):
        article = article[dateline.end() :]
    return article.strip()


def _read_cnn_dailymail(row: Row) -> Fields | None:
    article = _without_head(row["article"].strip())
    return _complete({"article": article, "answer": _paragraphs(row["highlights"])})


_CNN_DAILYMAIL_TEMPLATES = (
    Template(
        "Summarize the following news article in a few short sentences, each on its own line.\n\n"
        "{article}",
        "{answer}",
    ),
    Template(
        "List the highlights of this article.\n\nArticle: {article}\n\nHighlights:", "{answer}"
    ),
    Template(
        "You look after the home page of a news site. Each story carries three or four one-line "
        "points for readers in a hurry. Write those points for the story below, without bullets.\n"
        "\n{article}",
        "{answer}",
    ),
    Template("{article}\n\nWhat are the main points of the report above?", "{answer}"),
    Template("tl;dr this story for me, three or four lines please:\n\n{article}", "{answer}"),
    Template(
        "Read the report. Then state who did what, and whatever else a reader has to know; write "
        "one fact per line.\n\nReport:\n{article}\n\nKey facts:",
        "{answer}",
    ),
    Template(
        "Between the dashes below is a text from the web pages of CNN or the Daily Mail. Condense "
        "it into a handful of one-sentence highlights.\n---\n{article}\n---",
        "{answer}",
    ),
    Template(
        "What happened in this story? Give the essentials, and leave out quotations and minor "
        "details.\n\nStory: {article}",
        "{answer}",
    ),
    Template(
        "These highlights are shown at the top of a news article:\n{answer}\n\nWrite the article.",
        "{article}",
        reversed=True,
    ),
    Template(
        "A reporter has jotted down these facts.\n\n{answer}\n\nTurn them into a full news story. "
        "You may add background and quotations.",
        "{article}",
        reversed=True,
    ),
)

_MASKED = re.compile(r"\bUNK\b|<unk>|#", re.IGNORECASE)  # rare words and digits


def _read_gigaword(row: Row) -> Fields | None:
    fields = texts(row, sentence="document", answer="summary")
    masked = any(map(_MASKED.search, fields.values()))
    return None if masked else _complete(fields)


_GIGAWORD_TEMPLATES = (
    Template("Write a headline for this sentence from a news story: {sentence}", "{answer}"),
    Template("{sentence}\n\nShorten the sentence above to a headline.", "{answer}"),
    Template(
        "A news report and its headline, both in lower case.\n\nFirst sentence of the report: "
        "{sentence}\nHeadline:",
        "{answer}",
    ),
    Template(
        "You are a copy editor with room for eight words or so. What do you print above a story "
        "that begins like this?\n\n{sentence}",
        "{answer}",
    ),
    Template("Compress to the bare essentials: {sentence}", "{answer}"),
    Template("In one short phrase, what is being reported here?\n{sentence}", "{answer}"),
    Template(
        'A news agency sent out this text:\n"{sentence}"\nSum it up as a title of the same style, '
        "that is, without capitals.",
        "{answer}",
    ),
    Template(
        "Story opening: {sentence}\n\nSuggest a title, please. It should say as much as possible "
        "in as few words as possible.",
        "{answer}",
    ),
    Template(
        "Headline: {answer}\nWrite the sentence with which the report begins.",
        "{sentence}",
        reversed=True,
    ),
    Template(
        'Expand "{answer}" into a complete sentence such as a newspaper might print, with the '
        "details that a headline leaves out.",
        "{sentence}",
        reversed=True,
    ),
)


def _read_multi_news(row: Row) -> Fields | None:
    articles = [_paragraphs(article) for article in row["document"].split("|||||")]
    articles = list(filter(None, articles))
    answer = row["summary"].strip().lstrip("–—- ")  # each opens with a dash
    if not articles or not answer:
        return None
    headed = [f"Article {number}:\n{text}" for number, text in enumerate(articles, start=1)]
    return {
        "document": "\n\n".join(articles),
        "articles": "\n\n".join(headed),
        "first": articles[0],
        "answer": answer,
    }


_MULTI_NEWS_TEMPLATES = (
    Template(
        "Write a single summary of the following news coverage.\n\n{articles}",
        "{answer}",
    ),
    Template(
        "Several newspapers have reported on the same event. Combine what they say into a single "
        "account, a paragraph or two long.\n\n{document}",
        "{answer}",
    ),
    Template("{articles}\n\nSummarize the coverage above in a paragraph or more.", "{answer}"),
    Template(
        "Here is what the press wrote about a certain story:\n\n{document}\n\nWhat is the story, "
        "in brief?",
        "{answer}",
    ),
    Template(
        "As the editor of a news aggregator, you read whatever is written on a topic and tell your "
        "readers what they need to know. Draw on every source.\n\nSOURCES\n\n{articles}\n\n"
        "YOUR WRITE-UP",
        "{answer}",
    ),
    Template(
        "Input: the text of one or more news reports on one event. Output: a short text that "
        "merges their most important information.\n\nInput:\n{document}\n\nOutput:",
        "{answer}",
    ),
    Template(
        "I don't have the time to go through all of this. Could you boil it down for me?\n\n"
        "{document}",
        "{answer}",
    ),
    Template(
        "Bring the readers of a daily digest up to date on this topic, using nothing but the "
        "clippings below.\n\n{articles}\n\nDigest:",
        "{answer}",
    ),
    Template(
        "Taken together, what do the reports below say? Answer in a paragraph or two.\n\n"
        "{articles}",
        "{answer}",
    ),
    Template(
        "Here is a digest of what the press wrote about an event.\n\n{answer}\n\nWrite one of the "
        "articles on which it may be based.",
        "{first}",
        reversed=True,
    ),
)


def _read_newsroom(row: Row) -> Fields | None:
    fields = texts(row, title="title", answer="summary")
    return _complete({**fields, "text": _paragraphs(row["text"])})


_NEWSROOM_TEMPLATES = (
    Template("Summarize this article.\n\n{title}\n\n{text}", "{answer}"),
    Template(
        "Write the short summary that is printed between the headline and the text of this story.\n"
        "\nHeadline: {title}\n\nText: {text}\n\nSummary:",
        "{answer}",
    ),
    Template('What does the article "{title}" say? Be brief.\n\n{text}', "{answer}"),
    Template(
        '{text}\n\nThis was published under the title "{title}". Describe it in a sentence or two '
        "for people who find it with a search engine.",
        "{answer}",
    ),
    Template(
        "You post your newspaper's stories on social media. Write the teaser for this one: it may "
        "take from the text or put things in your own words, but it has to be short.\n\n"
        "Title: {title}\nText: {text}",
        "{answer}",
    ),
    Template("Give me the short version of this piece: {title}\n\n{text}", "{answer}"),
    Template("An article follows. State its main point.\n\n{text}", "{answer}"),
    Template(
        "Sum up in one to three sentences.\n\nArticle:\n{text}\n\nIts title, for orientation: "
        "{title}\n\nSummary:",
        "{answer}",
    ),
    Template("{text}\n\nWhich headline would you put over this text?", "{title}", reversed=True),
    Template(
        "On its front page, a newspaper describes one of its articles in these words: {answer}\n"
        "What could the article be called? Give its title.",
        "{title}",
        reversed=True,
    ),
)

_ATTACHMENT = re.compile(r" *<[a-z_][^<>\n]{0,40}>", re.IGNORECASE)  # <file_photo>, but not <3
_SPEAKER = re.compile(r"([^:\n]{1,30}):(?:\s+(.*))?")


def _read_samsum(row: Row) -> Fields | None:
    turns, speakers = [], []
    for line in _paragraphs(_ATTACHMENT.sub("", row["dialogue"])).splitlines():
        turn = _SPEAKER.fullmatch(line)
        if turn and not turn[2]:
            continue  # it held nothing but a file
        turns.append(line)
        if turn and turn[1] not in speakers:
            speakers.append(turn[1])
    everybody = " and ".join(filter(None, [", ".join(speakers[:-1]), *speakers[-1:]]))
    return _complete(
        {
            "dialogue": "\n".join(turns),
            "speakers": everybody,
            "answer": row["summary"].strip(),
        }
    )


_SAMSUM_TEMPLATES = (
    Template("Summarize this conversation briefly.\n\n{dialogue}", "{answer}"),
    Template("{dialogue}\n\nWhat was this chat about?", "{answer}"),
    Template(
        "Chat log:\n{dialogue}\n\nFor the record, write a note in the third person of what was "
        "discussed and agreed. Keep to what matters.",
        "{answer}",
    ),
    Template(
        "My phone was off, so I missed all these messages:\n\n{dialogue}\n\nWhat did I miss? The "
        "short version, please.",
        "{answer}",
    ),
    Template(
        "The messages below are by {speakers}. Tell somebody who has not seen them what they come "
        "to.\n\n{dialogue}",
        "{answer}",
    ),
    Template(
        "Condense the dialogue into a brief report.\n\nDialogue:\n{dialogue}\n\nReport:",
        "{answer}",
    ),
    Template(
        "Some text messages are given. Which facts should be remembered from them? Call the people "
        'concerned by their names, and do not write "I" or "you".\n\n{dialogue}',
        "{answer}",
    ),
    Template(
        "What do we learn about {speakers} from the following exchange?\n\n{dialogue}\n\n"
        "Answer in a sentence or two:",
        "{answer}",
    ),
    Template(
        "Write a chat in which the following comes up.\n\n{answer}", "{dialogue}", reversed=True
    ),
    Template(
        "Participants: {speakers}\nWhat it is about: {answer}\n\nWrite out their messages. Each "
        "begins on a new line, with the sender's name and a colon.",
        "{dialogue}",
        reversed=True,
    ),
)


def _read_xsum(row: Row) -> Fields | None:
    document = _paragraphs(row["document"])
    return _complete(
        {
            "document": document,
            "opening": document.partition("\n")[0],
            "answer": tidy(row["summary"]),
        }
    )


_XSUM_TEMPLATES = (
    Template("Summarize the article in one sentence.\n\n{document}", "{answer}"),
    Template(
        "Here is a news report. Reduce it to a single sentence.\n\nReport:\n{document}\n\n"
        "Sentence:",
        "{answer}",
    ),
    Template(
        "The opening sentence of this news story has been cut off. It told readers, all by itself, "
        "what the story is about. Supply it.\n\n{document}",
        "{answer}",
    ),
    Template("{document}\n\nIn one sentence: what is the news here?", "{answer}"),
    Template(
        "You read the news on the radio and have ten seconds for this item, enough for one "
        "sentence. What do you say?\n\n{document}",
        "{answer}",
    ),
    Template(
        "State the gist of the text; one sentence will do.\n\nText: {document}\n\nGist:", "{answer}"
    ),
    Template("What's this about? Just one sentence, please.\n\n{document}", "{answer}"),
    Template(
        "Reporters begin with a sentence that holds the whole story. Write that sentence for the "
        "report that follows.\n\n{document}",
        "{answer}",
    ),
    Template(
        "{answer}\n\nThe sentence above introduces a news article. Write the rest of the article.",
        "{document}",
        reversed=True,
    ),
    Template(
        "A news article has been summed up like this: {answer}\nHow might its main text begin? "
        "Write the first paragraph.",
        "{opening}",
        reversed=True,
    ),
)

_AG_NEWS_OPTIONS = ("World", "Sports", "Business", "Science/Tech")
# Entities that lost their "&": "Italy #39;s", "quot;yes quot;", "&lt;b&gt;".
_ENTITY = re.compile(r"&?(#\d{2,4}|quot|amp|lt|gt|nbsp);")


def _unescape(text: str) -> str:
    """Returns a text without the remains of HTML and of escaped line ends."""
    text = re.sub(r"\s(#39;(?:s|t|d|m|re|ve|ll)\b)", r"\1", text)
    text = re.sub(r"&?quot; ?(.*?) ?&?quot;", r'"\1"', text)
    text = _ENTITY.sub(lambda match: html.unescape(f"&{match[1]};"), text)
    return tidy(re.sub(r"</?[A-Za-z][^<>]*>|\\", " ", text))


def _read_ag_news(row: Row) -> Fields | None:
    index = int(row["label"])
    if index < 0:
        return None
    return _complete(
        {
            "title": _unescape(row["title"]),
            "description": _unescape(row["description"]),
            "answer": _AG_NEWS_OPTIONS[index],
        }
    )


_AG_NEWS_TEMPLATES = (
    Template(
        "{title}\n\n{description}\n\nWhich topic does this news item belong to?\n\n{options_}",
        "{answer}",
    ),
    Template(
        "In which section of a newspaper would you look for this story?\n\nHeadline: {title}\n"
        "Text: {description}\n\n{options_}",
        "{answer}",
    ),
    Template("File this under the right heading.\n{title}: {description}\n{options_}", "{answer}"),
    Template(
        "You sort the stories that reach a newsroom and send each to one of four desks. Which desk "
        "gets this one?\n\n{description}\n\n{options_}",
        "{answer}",
    ),
    Template(
        'A report with the title "{title}" begins as follows.\n{description}\n\nChoose the subject '
        "area of the report.\n{options_}",
        "{answer}",
    ),
    Template(
        "Classify the text by topic.\n\nText: {description}\n\n{options_}\n\nTopic:",
        "{answer}",
    ),
    Template(
        'What kind of news is "{title}"? The lines below the headline may help you:\n{description}'
        "\n\n{options_}",
        "{answer}",
    ),
    Template(
        "One of these categories fits the news story under them best. Which one?\n{options_}\n\n"
        "{title}\n{description}",
        "{answer}",
    ),
    Template(
        'Make up an item for the news section "{answer}": a headline on the first line, the '
        "opening of the text on the second.",
        "{title}\n{description}",
        reversed=True,
    ),
    Template(
        "Section: {answer}\nText: {description}\n\nWrite a headline for this text.",
        "{title}",
        reversed=True,
    ),
)

_MOST_OPINIONS = 10


def _opinions(sequence: Row) -> list[str]:
    """Returns the first texts of a sequence of keys and texts."""
    return list(filter(None, map(tidy, sequence["value"])))[:_MOST_OPINIONS]


def _read_rotten_tomatoes(row: Row) -> Fields | None:
    reviews = _opinions(row["_critics"])
    return _complete(
        {
            "movie": tidy(row["_movie_name"].replace("_", " ")),
            "reviews": _numbered(reviews),
            "review": "".join(reviews[:1]),
            "answer": tidy(row["_critic_consensus"]),
        }
    )


_ROTTEN_TOMATOES_TEMPLATES = (
    Template(
        "Critics wrote this about the film {movie}:\n\n{reviews}\n\nSum up their opinion in a "
        "sentence or two.",
        "{answer}",
    ),
    Template(
        "State what the critics agree on.\n\nReviews of {movie}:\n{reviews}\n\nConsensus:",
        "{answer}",
    ),
    Template(
        'How was "{movie}" received? Base your answer, which should be short, on these excerpts '
        "from the press.\n\n{reviews}",
        "{answer}",
    ),
    Template("{reviews}\n\nWhat is the general verdict on this film?", "{answer}"),
    Template(
        "Should I watch {movie}? This is what the papers say:\n{reviews}\n\nJust tell me what they "
        "think overall.",
        "{answer}",
    ),
    Template(
        "You write the brief verdicts in a film guide. Each of them reflects the view of the press "
        "as a whole, praise and blame alike. Write the one for {movie} from the comments below.\n\n"
        "{reviews}\n\nVerdict:",
        "{answer}",
    ),
    Template(
        "Merge the following opinions into a single statement.\n\n{reviews}\n\nFilm: {movie}\n"
        "Statement:",
        "{answer}",
    ),
    Template(
        "Professional reviewers have commented on {movie}. Summarize, in a sentence or so, the "
        "numbered comments.\n{reviews}",
        "{answer}",
    ),
    Template(
        "The critics' consensus on {movie} reads: {answer}\n\nMake up a line from one of their "
        "reviews.",
        "{review}",
        reversed=True,
    ),
    Template(
        "{reviews}\n\nWhich film is being reviewed? Give its title.", "{movie}", reversed=True
    ),
)


def _read_idebate(row: Row) -> Fields | None:
    arguments = _opinions(row["_argument_sentences"])
    return _complete(
        {
            "debate": tidy(row["_debate_name"].replace("_", " ")),
            "arguments": _numbered(arguments),
            "argument": "".join(arguments[:1]),
            "answer": tidy(row["_claim"]),
        }
    )


_IDEBATE_TEMPLATES = (
    Template(
        'In a debate on "{debate}", the following was put forward.\n\n{arguments}\n\nWhich claim '
        "does it support? State the claim in one sentence.",
        "{answer}",
    ),
    Template("Find the claim behind these sentences.\n\n{arguments}\n\nClaim:", "{answer}"),
    Template(
        "Motion: {debate}\n\nA speaker says:\n{arguments}\n\nPut the speaker's central point into "
        "a sentence.",
        "{answer}",
    ),
    Template("Sum up this line of argument in a few words.\n\n{arguments}", "{answer}"),
    Template(
        "{arguments}\n\nThis was said in a discussion about: {debate}\nWhat is it meant to show?",
        "{answer}",
    ),
    Template(
        'You keep the minutes of a debating club, which is discussing "{debate}". One of the '
        "members gives the reasons below. Record, in one sentence, the thesis that they add up "
        "to.\n\n{arguments}\n\nThesis:",
        "{answer}",
    ),
    Template(
        "If somebody argued like this, what would they be trying to convince us of? Keep your "
        "answer short.\n{arguments}",
        "{answer}",
    ),
    Template(
        "Topic under discussion: {debate}\nEvidence offered:\n{arguments}\nConclusion to be drawn:",
        "{answer}",
    ),
    Template(
        'In a debate on "{debate}", someone claims: {answer}\n\nWrite a sentence that backs up the '
        "claim.",
        "{argument}",
        reversed=True,
    ),
    Template(
        "What debate could these sentences be part of? Give its title, which may be a motion or a "
        "topic.\n\n{arguments}",
        "{debate}",
        reversed=True,
    ),
)


def _read_wiki_lingua(row: Row) -> Fields | None:
    return _complete(texts(row, article="source", answer="target"))


_WIKI_LINGUA_TEMPLATES = (
    Template("Summarize the steps of this how-to article.\n\n{article}", "{answer}"),
    Template(
        "Shorten this guide to one brief instruction per step.\n\nGuide:\n{article}\n\nIn short:",
        "{answer}",
    ),
    Template("{article}\n\nGive the same directions in far fewer words.", "{answer}"),
    Template(
        "Someone wants to follow these instructions but cannot remember all the details. Write "
        "down only what has to be done, in the right order and in short sentences.\n\n{article}",
        "{answer}",
    ),
    Template(
        "How is it done? Answer from the explanation below, with a few words for each step.\n\n"
        "{article}",
        "{answer}",
    ),
    Template(
        "You edit a website that explains how to do things. Every explanation is preceded by a "
        'summary of bare commands, in the style of "Heat the oil. Add the onions." Write the '
        "summary for this explanation.\n\n{article}",
        "{answer}",
    ),
    Template("Can you give me the quick version of this advice?\n\n{article}", "{answer}"),
    Template("Instructions: {article}\n\nSummary of the instructions:", "{answer}"),
    Template(
        "These are the steps of a guide, in short:\n{answer}\n\nWrite the guide in full, with an "
        "explanation of each step.",
        "{article}",
        reversed=True,
    ),
    Template(
        "Expand these notes into a detailed article for beginners.\n\n{answer}",
        "{article}",
        reversed=True,
    ),
)

DATASETS = (
    Dataset(
        name="aeslc",
        title="AESLC",
        cluster=CLUSTER,
        tfds="aeslc:1.0.0",
        splits=splits("train", "validation[-200:]", "test"),
        read=_read_aeslc,
        fields=("email",),
        plain="{email}",
        instruction="Write the subject line of an e-mail.",
        templates=_AESLC_TEMPLATES,
        metrics=_ROUGE,
        notes="White space is folded in bodies and subjects: a line end becomes a space, where the "
        "original deleted those of a subject. Rows without body or subject are dropped.",
    ),
    Dataset(
        name="cnn_dailymail",
        title="CNN/DailyMail",
        cluster=CLUSTER,
        tfds="cnn_dailymail:3.4.0",
        splits=splits("train[:30000]", "validation[:200]", "test"),
        read=_read_cnn_dailymail,
        fields=("article",),
        plain="{article}",
        instruction="Summarize a news article as a few highlights, one per line.",
        templates=_CNN_DAILYMAIL_TEMPLATES,
        metrics=_ROUGE,
        notes="Version 3.4.0, as 3.1.0 is gone from TFDS. Bylines, times of publication and "
        "datelines are removed from the first 400 characters of an article, in the form that 3.4.0 "
        "gives them: the original's marker, a year and ' . ', no longer occurs, as no space is "
        "written there.",
    ),
    Dataset(
        name="gigaword",
        title="Gigaword",
        cluster=CLUSTER,
        tfds="gigaword:1.2.0",
        splits=splits("train[:30000]", "validation[:200]", "test"),
        read=_read_gigaword,
        fields=("sentence",),
        plain="{sentence}",
        instruction="Write the headline of a news report, given its first sentence.",
        templates=_GIGAWORD_TEMPLATES,
        metrics=_ROUGE,
        notes="Rows with masked words (UNK, <unk>) or masked digits (#) are dropped from every "
        "split, so test scores are over a part of the test set.",
    ),
    Dataset(
        name="multi_news",
        title="Multi-News",
        cluster=CLUSTER,
        tfds="multi_news:2.1.0",
        splits=splits("train[:30000]", "validation[:200]", "test"),
        read=_read_multi_news,
        fields=("document", "articles", "first"),
        plain="{document}",
        instruction="Summarize several news articles on one event together.",
        templates=_MULTI_NEWS_TEMPLATES,
        metrics=_ROUGE,
        licence="For non-commercial research and educational purposes only",
        notes="Version 2.1.0, as 1.0.0 is gone from TFDS. Articles are parted at '|||||', the dash "
        "that opens every summary is removed, and rows without any article are dropped.",
    ),
    Dataset(
        name="newsroom",
        title="NEWSROOM",
        cluster=CLUSTER,
        tfds="newsroom:1.0.0",
        splits=splits("train[:30000]", "validation[:200]", "test"),
        read=_read_newsroom,
        fields=("title", "text"),
        plain="{title}\n\n{text}",
        instruction="Summarize a news article in a few sentences.",
        templates=_NEWSROOM_TEMPLATES,
        metrics=_ROUGE,
        notes="Manual download after registration. Rows without title, text or summary are "
        "dropped. No template asks for the text, as many summaries are taken from it.",
    ),
    Dataset(
        name="samsum",
        title="SAMSum",
        cluster=CLUSTER,
        tfds="samsum:1.0.0",
        splits=splits("train", "validation[:200]", "test"),
        read=_read_samsum,
        fields=("dialogue", "speakers"),
        plain="{dialogue}",
        instruction="Summarize a chat in the third person.",
        templates=_SAMSUM_TEMPLATES,
        metrics=_ROUGE,
        licence="CC-BY-NC-ND-4.0",
        notes="Manual download. Marks of attached files (<file_photo>) are removed, and turns that "
        "held nothing else; '<3' stays. Rows whose dialogue is then empty are dropped.",
    ),
    Dataset(
        name="xsum",
        title="XSum",
        cluster=CLUSTER,
        tfds="xsum:1.1.0",
        splits=splits("train[:30000]", "validation[:200]", "test"),
        read=_read_xsum,
        fields=("document", "opening"),
        plain="{document}",
        instruction="Summarize a news article in one sentence.",
        templates=_XSUM_TEMPLATES,
        metrics=_ROUGE,
        notes="TFDS's own builder (manual download) instead of huggingface:xsum, which had no "
        "version; 1.1.0 drops the web page's buttons ('Share this with') from texts.",
    ),
    Dataset(
        name="ag_news_subset",
        title="AG News",
        cluster=CLUSTER,
        tfds="ag_news_subset:1.0.0",
        splits=splits("train[:30000]", "train[-200:]", "test"),
        read=_read_ag_news,
        fields=("title", "description"),
        plain="{title}\n{description}",
        instruction="Decide which of four topics a news item belongs to.",
        templates=_AG_NEWS_TEMPLATES,
        options=_AG_NEWS_OPTIONS,
        metrics=(metrics.exact_match_metric,),
        licence="research purposes in data mining (clustering, classification, etc), information "
        "retrieval (ranking, search, etc), xml, data compression, data streaming, and any other "
        "non-commercial activity",
        notes="A classification, kept in the cluster where the paper has it. Remains of HTML "
        "(#39; quot; &lt;b&gt;) and backslashes for line ends are undone in titles and texts.",
    ),
    Dataset(
        name="opinion_abstracts_rotten_tomatoes",
        title="Opinion Abstracts (Rotten Tomatoes)",
        cluster=CLUSTER,
        tfds="opinion_abstracts/rotten_tomatoes:1.0.0",
        splits=splits("train[:-600]", "train[-600:-500]", "train[-500:]"),
        read=_read_rotten_tomatoes,
        fields=("movie", "reviews", "review"),
        plain="{movie}\n{reviews}",
        instruction="Sum up what critics think of a film.",
        templates=_ROTTEN_TOMATOES_TEMPLATES,
        metrics=_ROUGE,
        notes="The first ten reviews that are not empty, numbered; underscores in names of films "
        "become spaces. Rows without name, reviews or consensus are dropped.",
    ),
    Dataset(
        name="opinion_abstracts_idebate",
        title="Opinion Abstracts (iDebate)",
        cluster=CLUSTER,
        tfds="opinion_abstracts/idebate:1.0.0",
        splits=splits("train[:-600]", "train[-600:-500]", "train[-500:]"),
        read=_read_idebate,
        fields=("debate", "arguments", "argument"),
        plain="{debate}\n{arguments}",
        instruction="State the claim that arguments from a debate support.",
        templates=_IDEBATE_TEMPLATES,
        metrics=_ROUGE,
        notes="The first ten sentences that are not empty, numbered; underscores in titles of "
        "debates become spaces. Two templates are reversed, where the original had four.",
    ),
    Dataset(
        name="wiki_lingua_english_en",
        title="WikiLingua (English)",
        cluster=CLUSTER,
        tfds="gem/wiki_lingua_english_en:1.1.0",
        splits=splits("train[:30000]", "validation[:200]", "test"),
        read=_read_wiki_lingua,
        fields=("article",),
        plain="{article}",
        instruction="Summarize a how-to guide as short instructions.",
        templates=_WIKI_LINGUA_TEMPLATES,
        metrics=_ROUGE,
        notes="Rows without article or summary are dropped. The reference is the target, which is "
        "also all that the feature references holds.",
    ),
)
