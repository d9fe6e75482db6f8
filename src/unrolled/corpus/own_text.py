"""The user's own plain text: read as the settings say, looked at before it is cut into words, and what to say of it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import click

from unrolled.corpus.evidence import Evidence, evidence_in, forms_in
from unrolled.corpus.files.lines import Reading
from unrolled.corpus.files.text_files import Document, text_documents
from unrolled.ground.corpus import SPLITS
from unrolled.shell.errors import UserError

NAME = "text"  # of the corpus
LISTED = 20  # files that were left out, of which the report gives the names; the terminal those of a few
BLANK_LINES = {
    "drop": "left out (corpus.blank_lines: drop); paragraphs and keep let them stand",
    "paragraphs": "one stands for each run of them (corpus.blank_lines: paragraphs)",
    "keep": "kept (corpus.blank_lines: keep)",
}


class LookedAt(NamedTuple):
    """``told``, ``warned``: what the corpus report says of it, and warns of, by names."""

    tokenised: bool = False
    told: Mapping[str, Any] = MappingProxyType({})
    warned: Mapping[str, str] = MappingProxyType({})


NOTHING = LookedAt()


def documents(corpus: Mapping[str, Any]) -> tuple[Iterator[Document], dict[str, Any]]:
    """The documents, and how they are read; of these facts the last is whole when the documents have been read."""
    reading = Reading.of_settings(corpus)
    left_out: list[str] = []
    how = {"encoding": reading.encoding, "blank_lines": BLANK_LINES[reading.blank_lines], "left_out": left_out}
    return text_documents(Path(corpus["path"]), corpus["pattern"], reading, left_out), how


def say_what_was_left_out(how: Mapping[str, Any], repeats: int) -> None:
    """On the terminal; ``repeats``: how many documents, or rows of a table, say what another says."""
    if repeats:
        each = "1 document that repeats" if repeats == 1 else f"{repeats:,} documents, or rows, each of which repeats"
        click.echo(f"left out: {each} another word for word", err=True)
    files = how["left_out"]
    for each in files[:5]:
        click.echo(f"left out: {each}", err=True)
    if len(files) > 5:
        click.echo(f"left out: {len(files) - 5:,} more, which data/text/documents.json lists", err=True)


def looked_at(corpus: Mapping[str, Any], unit: str, text: Path) -> LookedAt:
    """``text``: the folder of the splits. UserError where it is to be cut into words and has none that stand apart."""
    evidence, wanted = evidence_in(text / "train.txt"), corpus.get("tokenised", "auto")
    tokenised = unit == "word" and (evidence.tokenised if wanted == "auto" else bool(wanted))
    if unit == "word" and not tokenised and evidence.without_words:
        script, share = evidence.without_words
        raise UserError(
            f"the unit word does not fit this text: {share:.0%} of its letters are {script}, which has no blanks "
            "between words; set vocabulary.unit=character (and min_count=1) or subword, or cut it into words "
            "beforehand and set corpus.tokenised=true"
        )
    told = {"letters": _letters(corpus, text)}
    if unit == "word":
        told = {"words": _words(evidence, wanted, tokenised=tokenised)} | told
        if tokenised and wanted == "auto":
            click.echo(f"words: {told['words']}", err=True)
    return LookedAt(tokenised, told, _warned(evidence, tokenised) if unit == "word" else {})


def _words(evidence: Evidence, wanted: bool | str, *, tokenised: bool) -> str:
    how = "taken as they stand between white space" if tokenised else "cut at white space and at punctuation marks"
    if wanted != "auto":
        return f"{how}, as corpus.tokenised: {str(wanted).lower()} says"
    other = "false cuts them" if tokenised else "true leaves them whole"
    return f"{how}, as the text shows (corpus.tokenised: auto): {evidence.said()}; corpus.tokenised={other}"


def _letters(corpus: Mapping[str, Any], text: Path) -> str:
    if corpus.get("normalise"):
        return f"each in one form, {corpus['normalise']} (corpus.normalise)"
    both = forms_in(text / f"{split}.txt" for split in SPLITS).both()
    if not both:
        return "as they are in the text (corpus.normalise: null); none occurs in two forms"
    more = f" and {len(both) - 10} more" if len(both) > 10 else ""
    said = (
        f"as they are in the text, where {' '.join(both[:10])}{more} occur in two forms, as one code point and as two"
    )
    click.echo(f"letters: {said}; corpus.normalise=NFC makes them one", err=True)
    return f"{said}; corpus.normalise: NFC makes them one"


def _warned(evidence: Evidence, tokenised: bool) -> dict[str, str]:
    if tokenised and evidence.ends:
        return {
            "ends": f"<eos> stands in the text {evidence.ends:,} times, and each line ends with another: take them "
            "out, for a token that always comes lowers perplexity"
        }
    if not tokenised and evidence.unknown:
        return {
            "cut_unknown": f"<unk> stands in the text {evidence.unknown:,} times and is cut into three tokens; where "
            "the text is tokens already, set corpus.tokenised=true"
        }
    return {}
