"""The Brown corpus with its tags: whole, without what is set onto them, or mapped to twelve coarse ones.

The universal map is that of Petrov, Das and McDonald (2012).
"""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path

from unrolled.corpus.files.text_files import zip_documents
from unrolled.corpus.readers import tagged_words
from unrolled.shell.errors import UserError
from unrolled.tasks.tagging.corpus.sentences import Sentence

HOW = "by document: of the files in order of their names every tenth is test, and every fifth of ten valid"
MAP = "universal_tagset/en-brown.map"


def brown_splits(raw: Path, tags: str) -> dict[str, list[Sentence]]:
    """The sentences by split, whole documents to each; ``tags``: "full", "base" or "coarse"."""
    ways: dict[str, Callable[[str], str]] = {
        "full": str,
        "base": base_tag,
        "coarse": coarse_tags(raw / "universal_tagset.zip"),
    }
    tag_of = ways[tags]
    splits: dict[str, list[Sentence]] = {"train": [], "valid": [], "test": []}
    documents = [each for each in zip_documents(raw / "brown.zip") if re.fullmatch(r"brown/c[a-r]\d\d", each.name)]
    for number, document in enumerate(documents, 1):
        split = {0: "test", 5: "valid"}.get(number % 10, "train")
        for line in document.lines():
            pairs = tagged_words(line)
            splits[split].append(
                Sentence([word for word, _ in pairs], [tag_of(tag) for _, tag in pairs], document.name)
            )
    return splits


def base_tag(tag: str) -> str:
    """A tag without what is set onto it: `fw-` foreign, `-tl` of a title, `-hl` of a headline, `-nc` cited.

    Of a contraction (`ppss+bem`) the first part's, of a negated verb (`bez*`) the verb's.
    """
    stripped = re.sub(r"(-(tl|hl|nc))+$", "", tag.removeprefix("fw-"))
    first = stripped.split("+")[0] or stripped
    first = re.sub(r"(-(tl|hl|nc))+$", "", first)
    return first.removesuffix("*") or first


def coarse_tags(archive: Path) -> Callable[[str], str]:
    """The map from a tag of the corpus to one of the twelve; UserError for a tag that it lacks."""
    with zipfile.ZipFile(archive) as opened:
        rows = [line.split("\t") for line in opened.read(MAP).decode("utf-8").split("\n") if "\t" in line]
    coarse = {full.upper(): universal.strip() for full, universal in rows}

    def tag_of(tag: str) -> str:
        try:
            return coarse[tag.upper()]
        except KeyError:
            raise UserError(f"{archive}: {MAP} has no coarse tag for {tag!r}") from None

    return tag_of
