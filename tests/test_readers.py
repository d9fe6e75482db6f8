"""The public corpora, read from their publisher's format."""

import zipfile
from pathlib import Path

from unrolled.corpus import own_text
from unrolled.corpus.catalogue import CATALOGUE
from unrolled.corpus.made_up import NAMES
from unrolled.corpus.readers import READERS, tagged_words


def test_every_corpus_of_the_catalogue_has_its_reader() -> None:
    assert {*READERS, *NAMES, own_text.NAME} == CATALOGUE.keys()


def test_brown_gives_the_words_of_its_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "brown.zip", "w") as archive:
        archive.writestr("brown/README", "not text of the corpus")
        archive.writestr("brown/cb01", "\n\n\tThe/at 1/2/cd cup/nn ./.\n\n\n\tNo/rb !/.\n")
        archive.writestr("brown/ca01", "\tFirst/od\n")
    found = {document.name: list(document.lines()) for document in READERS["brown"](tmp_path, None)}
    assert found == {"brown/ca01": ["First"], "brown/cb01": ["The 1/2 cup .", "No !"]}
    assert tagged_words("1/2/cd ./.") == [("1/2", "cd"), (".", ".")]


def test_ptb_keeps_its_three_files(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / f"ptb.{split}.txt").write_text(f" a <unk> {split} \n", encoding="utf-8")
    documents = list(READERS["ptb"](tmp_path, None))
    assert [document.split for document in documents] == ["train", "valid", "test"]
    assert [list(document.lines()) for document in documents][2] == [" a <unk> test"]
