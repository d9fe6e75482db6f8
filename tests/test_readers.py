"""The public corpora, read from their publisher's format."""

import os
import zipfile
from pathlib import Path

import pytest

from unrolled.corpus import own_text
from unrolled.corpus.catalogue import CATALOGUE, MADE_UP
from unrolled.corpus.files.lines import Reading
from unrolled.corpus.readers import READERS, tagged_words


def test_every_corpus_of_the_catalogue_has_its_reader() -> None:
    assert {*READERS, *MADE_UP, own_text.NAME} == CATALOGUE.keys()


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


def test_wikitext_2_has_its_published_counts() -> None:
    """With an end for each line, blank ones among them; of the training split there is no copy here."""
    place = Path(os.environ.get("UNROLLED_MIRROR", "nowhere"))
    if not (place / "wikitext-2.test.txt").is_file():
        pytest.skip("needs UNROLLED_MIRROR, a folder that holds wikitext-2.valid.txt and wikitext-2.test.txt")
    documents = {document.split: document for document in READERS["wikitext-2"](place, None)}
    counts = {split: sum(len(line.split()) + 1 for line in documents[split].lines()) for split in ("valid", "test")}
    assert counts == {"valid": 217_646, "test": 245_569}


def test_text_is_read_as_what_a_network_was_trained_on() -> None:
    assert Reading.of_manifest({"settings": {"corpus": {"name": "wikitext-2"}}}).blank_lines == "keep"
    assert Reading.of_manifest({"settings": {"corpus": {"name": "ptb"}}}).blank_lines == "drop"
    assert Reading.of_manifest({"settings": {"corpus": {"name": "text", "blank_lines": "keep"}}}).blank_lines == "keep"
