"""The data of sequence tagging, as the stages ask for it: which files, how they are read and encoded."""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from unrolled.ground.corpus import SPLITS
from unrolled.shell.errors import UserError
from unrolled.tasks.tagging.corpus.brown import HOW, brown_splits
from unrolled.tasks.tagging.corpus.catalogue import CATALOGUE
from unrolled.tasks.tagging.corpus.columns import column_sentences, conll2000_sentences
from unrolled.tasks.tagging.corpus.conllu_files import conllu_sentences
from unrolled.tasks.tagging.corpus.encode import encode
from unrolled.tasks.tagging.corpus.sentences import Sentence, cut, write_text

__all__ = ["CATALOGUE", "encode", "facts", "read"]

Splits = dict[str, list[Sentence]]
IN_ORDER = "one file cut where its sentences stand: train, then valid, then test"
SPLIT_OF_NAME = {"train": r"train", "valid": r"dev|valid", "test": r"test"}  # what the name of a file says


def facts(name: str) -> dict[str, str]:
    return {"corpus": name}


def read(corpus: Mapping[str, Any], raw: Path, text: Path) -> None:
    """Read the corpus and write its sentences, split."""
    splits, how = _SPLITS[corpus["name"]](corpus, raw)
    write_text(text, splits, how=how, facts=facts(corpus["name"]) | {"settings": dict(corpus)})


def _treebank(stem: str) -> Callable[[Mapping[str, Any], Path], tuple[Splits, str]]:
    def splits(corpus: Mapping[str, Any], raw: Path) -> tuple[Splits, str]:
        of_split = {"train": "train", "valid": "dev", "test": "test"}
        files = {split: raw / f"{stem}-ud-{name}.conllu" for split, name in of_split.items()}
        read = partial(conllu_sentences, tags=corpus["tags"], given=corpus["given"])
        return {split: list(read(file)) for split, file in files.items()}, "as published"

    return splits


def _brown(corpus: Mapping[str, Any], raw: Path) -> tuple[Splits, str]:
    return brown_splits(raw, corpus["tags"]), HOW


def _conll2000(corpus: Mapping[str, Any], raw: Path) -> tuple[Splits, str]:
    read = partial(conll2000_sentences, raw / "conll2000.zip", tags=corpus["tags"], given=corpus["given"])
    train, test = (read(part) for part in ("train", "test"))
    parts = cut(train, "conll2000", valid_share=corpus["valid_share"], test_share=0.0)
    return parts | {"test": test}, "as published, but for valid: the last sentences of the published training text"


def _own(
    reader: Callable[[Path], Iterable[Sentence]], ending: str = ""
) -> Callable[[Mapping[str, Any], Path], tuple[Splits, str]]:
    """A file of the user's, or a folder with three of them, whose names may end so where others lie beside them."""

    def splits(corpus: Mapping[str, Any], raw: Path) -> tuple[Splits, str]:
        path = Path(corpus["path"])
        if not path.exists():
            raise UserError(f"corpus.path: {path} does not exist; name a file, or a folder with three")
        if path.is_dir():
            files = _three_files(path, ending)
            sentences = {split: list(reader(file)) for split, file in files.items()}
            if empty := [str(files[split]) for split, own in sentences.items() if not own]:
                raise UserError(f"{' and '.join(empty)}: there is no sentence; give some, or one file to be cut")
            return sentences, "three files, one a split"
        shares = {"valid_share": corpus["valid_share"], "test_share": corpus["test_share"]}
        return cut(list(reader(path)), str(path), **shares), IN_ORDER

    return splits


def _own_treebank(corpus: Mapping[str, Any], raw: Path) -> tuple[Splits, str]:
    return _own(partial(conllu_sentences, tags=corpus["tags"], given=corpus["given"]), ".conllu")(corpus, raw)


def _three_files(folder: Path, ending: str) -> dict[str, Path]:
    """The file of each split, by its name; of several, that which ends so. UserError where there is none, or two are.

    The releases of Universal Dependencies hold the bare text, as .txt, beside each .conllu.
    """
    files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    found = {
        split: [file for file in files if re.search(rf"(?<![a-z])({pattern})(?![a-z])", file.stem.lower())]
        for split, pattern in SPLIT_OF_NAME.items()
    }
    for split in SPLITS:
        if len(found[split]) > 1 and ending:
            found[split] = [file for file in found[split] if file.suffix.lower() == ending] or found[split]
        if len(found[split]) != 1:
            names = f" ({', '.join(file.name for file in found[split][:5])})" if found[split] else ""
            raise UserError(
                f"corpus.path: {folder} must hold one file each with train, dev (or valid) and test in its name; "
                f"there are {len(found[split])} for {split}{names}"
            )
    return {split: found[split][0] for split in SPLITS}


_SPLITS: dict[str, Callable[[Mapping[str, Any], Path], tuple[Splits, str]]] = {
    "lines": _treebank("en_lines"),
    "sequoia": _treebank("fr_sequoia"),
    "brown": _brown,
    "conll2000": _conll2000,
    "conllu": _own_treebank,
    "columns": _own(column_sentences),
}
