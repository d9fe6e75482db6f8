"""The texts of a split as words, those too that the vocabulary has no place for; `corpus/encoding.py` wrote them."""

from unrolled.ground.corpus import Corpus, Split

Words = list[str]  # of one text; its characters where the unit is the character


def words_of(split: Split) -> list[Words]:
    """Of each text, in the split's order."""
    texts = split.arrays["written"].tobytes().decode("utf-8").split("\n\n")[:-1]
    return [text.split("\n") for text in texts]


def spelled(corpus: Corpus, words: Words) -> str:
    """A text as a reader wants it."""
    return (" " if corpus.names["unit"] == ["word"] else "").join(words)
