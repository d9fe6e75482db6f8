"""Labelled texts as the stages ask for them; see `unrolled/corpus/of_task.py`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unrolled.corpus.catalogue import PublicFile, Source
from unrolled.tasks.classification.corpus.encoding import encode
from unrolled.tasks.classification.corpus.folds import write_folds
from unrolled.tasks.classification.corpus.own_texts import own_texts
from unrolled.tasks.classification.corpus.public import movie_reviews, sentence_polarity

__all__ = ["CATALOGUE", "encode", "facts", "read"]

NLTK = "https://raw.githubusercontent.com/nltk/nltk_data/5db857e6f7df11eabb5e5665836db9ec8df07e28/packages/corpora"

CATALOGUE: dict[str, Source] = {
    "sentence_polarity": Source(  # Pang and Lee 2005, version 1.0
        (
            PublicFile(
                "sentence_polarity.zip",
                f"{NLTK}/sentence_polarity.zip",
                "6e1ed4405b65c7eabf1d199a7f7c437091ac21da0ea7467b410a74062574566b",
            ),
        ),
        tokenised=True,
    ),
    "movie_reviews": Source(  # Pang and Lee 2004, version 2.0
        (
            PublicFile(
                "movie_reviews.zip",
                f"{NLTK}/movie_reviews.zip",
                "a41211ae685019137410268134db6a1a14428c89b671eb83056151a878539008",
            ),
        ),
        tokenised=True,
    ),
    "own": Source(own=True),
}


def facts(name: str) -> dict[str, str]:
    """What the corpus report says of the source."""
    return {"corpus": name}


def read(corpus: Mapping[str, Any], raw: Path, text: Path) -> None:
    """The labelled texts of ``raw`` or of the user's path, split by fold, into ``text``; UserError as their readers."""
    name = corpus["name"]
    if name == "sentence_polarity":
        texts = sentence_polarity(raw / "sentence_polarity.zip")
    elif name == "movie_reviews":
        texts = movie_reviews(raw / "movie_reviews.zip")
    else:
        texts = own_texts(Path(corpus["path"]), text_column=corpus["text_column"], label_column=corpus["label_column"])
    known = {**facts(name), "tokenised": CATALOGUE[name].tokenised, "settings": dict(corpus)}
    write_folds(texts, text, fold=corpus["fold"], seed=corpus["seed"], facts=known)
