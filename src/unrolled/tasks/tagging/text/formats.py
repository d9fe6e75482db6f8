"""Sentences in, tagged sentences out: a sentence a line, or CoNLL-U, whose lines stay as they are but for the tags.

CoNLL-U written here has the tag in the column of its kind. MISC says `Unknown=Yes` of a word that the vocabulary
lacks, and `TagProb=0.53` of a tag that the network is less sure of than SURE; what an earlier tagger marked so is gone.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import BinaryIO, NamedTuple

import click

from unrolled.shell.errors import UserError
from unrolled.tasks.tagging.corpus.conllu_files import COLUMNS, words_in
from unrolled.tasks.tagging.corpus.sentences import Line, decoded
from unrolled.tasks.tagging.text.tagger import TaggedWord

SURE = 0.9
MARKS = ("Unknown", "TagProb")
UPOS, XPOS, MISC = 3, 4, 9  # columns of CoNLL-U
COLUMN_OF = {"upos": UPOS, "coarse": UPOS}  # chunks have none of their own and stand in MISC; all others are XPOS


class Read(NamedTuple):
    """A sentence as it was read: its words, and its lines with, of each line that is a word, the word's number."""

    words: list[str]
    lines: list[str]
    numbers: dict[int, int]

    def column(self, kind: str) -> list[str]:
        """What the column of a kind of tags says of each word; UserError where a word has nothing there."""
        found = [self.lines[place].split("\t")[COLUMN_OF.get(kind, XPOS)] for place in self.numbers]
        for word, said in zip(self.words, found, strict=True):
            if said == "_":
                column = COLUMN_OF.get(kind, XPOS)
                raise UserError(
                    f"the word {word!r} has no {kind} tag, which this network is given beside each word: give CoNLL-U "
                    f"with it in column {column + 1}"
                )
        return found


def read(stream: BinaryIO, name: str) -> Iterator[Read]:
    """The sentences of a stream, as they come; CoNLL-U where the first line that is no comment has ten columns.

    Raises UserError with ``name`` and the line of what is neither.
    """
    lines = decoded(stream, name)
    begin: list[Line] = []
    for line in lines:
        begin.append(line)
        if line.text.strip() and not line.text.startswith("#"):
            break
    else:
        written = [line for line in begin if line.text.strip()]
        if any(not line.text.startswith("# ") for line in written):  # "#hashtag" is a word
            yield from _plain(begin)
        elif written:
            raise UserError(f"{name}: comments and no sentence")
        return
    whole = chain(begin, lines)
    yield from _conllu(whole) if begin[-1].text.count("\t") + 1 == COLUMNS else _plain(whole)


def _plain(lines: Iterable[Line]) -> Iterator[Read]:
    """A sentence a line, its words parted by white space."""
    for place, text in lines:
        if "\t" in text:
            raise UserError(
                f"{place}: a tab in a sentence; words are parted by spaces, or a line of CoNLL-U has {COLUMNS} columns"
            )
        if words := text.split():
            rows = [_row(number, word) for number, word in enumerate(words, 1)]
            yield Read(words, [f"# text = {' '.join(words)}", *rows], dict(enumerate(range(len(words)), 1)))


def _row(number: int, word: str) -> str:
    return "\t".join([str(number), word, *["_"] * (COLUMNS - 2)])


def _conllu(lines: Iterable[Line]) -> Iterator[Read]:
    block: list[Line] = []
    for line in chain(lines, [Line("", "")]):
        if line.text.strip():
            block.append(line)
        elif block:
            words = words_in(block)
            place_of = {line.place: place for place, line in enumerate(block)}
            numbers = {place_of[line.place]: number for number, (line, _) in enumerate(words)}
            yield Read([str(token["form"]) for _, token in words], [line.text for line in block], numbers)
            block = []


def conllu(sentence: Read, tagged: Sequence[TaggedWord], tags: str, *, marks: bool = True) -> str:
    """The sentence with its tags, and the empty line behind it; without ``marks`` nothing else is changed."""
    lines = list(sentence.lines)
    for place, number in sentence.numbers.items():
        columns, word = lines[place].split("\t"), tagged[number]
        said: dict[str, str] = {}
        if tags == "chunk":
            said["Chunk"] = word.tag
        else:
            columns[COLUMN_OF.get(tags, XPOS)] = word.tag
        if marks and not word.known:
            said["Unknown"] = "Yes"
        if marks and word.probability < SURE:
            said["TagProb"] = f"{word.probability:.2f}"
        renewed = {*said, *(MARKS if marks else ())}
        before = [each for each in columns[MISC].split("|") if each != "_" and each.partition("=")[0] not in renewed]
        columns[MISC] = "|".join([*before, *(f"{name}={value}" for name, value in said.items())]) or "_"
        lines[place] = "\t".join(columns)
    return "".join(f"{line}\n" for line in [*lines, ""])


def coloured(tagged: Sequence[TaggedWord]) -> str:
    """A sentence on a line for a terminal: word/TAG, an unknown word underlined, the tag in the colour of its doubt."""
    return " ".join(f"{click.style(each.word, underline=not each.known or None)}/{_tag(each)}" for each in tagged)


def _tag(word: TaggedWord) -> str:
    if word.probability >= SURE:
        return click.style(word.tag, fg="green")
    doubt = "yellow" if word.probability >= 0.6 else "red"
    return click.style(f"{word.tag}?{word.probability:.2f}", fg=doubt)


def in_turn(sentences: Iterator[Read], size: int) -> Iterator[list[Read]]:
    """Lists of up to ``size`` sentences."""
    while some := list(islice(sentences, size)):
        yield some
