"""Which data a task reads: its own where it brings a part `corpus`, else plain text."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from unrolled.corpus import plain_text
from unrolled.corpus.catalogue import Source
from unrolled.ground.registry import has_part, task_part


class Data(Protocol):
    """What the stages fetch, preprocess and vocabulary ask of `corpus/corpus.py` of a task, or of `plain_text.py`.

    Folders and files appear whole or not at all; UserError names what is wrong with the data, its file and line.
    """

    CATALOGUE: dict[str, Source]  # by corpus.name

    def facts(self, name: str) -> dict[str, str]:
        """What the corpus report says of the source; a corpus without files to fetch changes with them."""

    def read(self, corpus: Mapping[str, Any], raw: Path, text: Path) -> None:
        """data/raw, or the user's own files, -> ``text``; ``corpus``: that section.

        The folder is sealed by documents.json, where the settings are kept: encoding is told the corpus' name alone.
        """

    def encode(self, settings: Mapping[str, Any], text: Path, encoded: Path, report: Path) -> None:
        """``text`` -> ``encoded``, as `ground/corpus.py` reads it, and the corpus report, a JSON file.

        ``settings``: the section vocabulary, and the corpus' name. The report states digest, settings (of corpus and
        vocabulary), corpus, types, unit, and of each split its documents and tokens.
        """


def data_of(task: str) -> Data:
    if not has_part(task, "corpus"):
        return plain_text
    data: Data = task_part(task, "corpus")
    return data
