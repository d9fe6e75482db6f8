"""`unrolled tag`: what goes in comes out, tagged; and the served model answers alike."""

import io
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from tagging_corpora import NETWORK, TRAIN
from unrolled.ground.corpus import read_corpus
from unrolled.shell.errors import UserError
from unrolled.tasks.tagging import publishing
from unrolled.tasks.tagging.commands import tag
from unrolled.tasks.tagging.corpus.corpus import encode
from unrolled.tasks.tagging.corpus.sentences import Sentence, write_text
from unrolled.tasks.tagging.model.network import Network
from unrolled.tasks.tagging.model.task import Task
from unrolled.tasks.tagging.text.formats import coloured, conllu, read
from unrolled.tasks.tagging.text.serving import _load_pyfunc
from unrolled.tasks.tagging.text.tagger import TaggedWord, Tagger

TREEBANK = """# newdoc id = x
# text = il du  parc
1\til\til\tPRON\t_\tPerson=3\t2\tnsubj\t_\t_
2-3\tdu\t_\t_\t_\t_\t_\t_\t_\tSpaceAfter=No
2\tde\tde\tADP\t_\t_\t0\troot\t_\t_
3\tle\tle\tDET\tX\t_\t2\tdet\t_\tA=b|C
3.1\tva\taller\tVERB\t_\t_\t_\t_\t2:dep\t_

# text = 3 092
1\t3 092\t3 092\tNUM\t_\t_\t0\troot\t_\t_

"""


def sentences_of(text: str | bytes) -> list[Any]:
    return list(read(io.BytesIO(text if isinstance(text, bytes) else text.encode()), "in"))


def sure(words: list[str], tags: list[str]) -> list[TaggedWord]:
    return [TaggedWord(word, tag, 0.99, True) for word, tag in zip(words, tags, strict=True)]


def test_a_treebank_survives_byte_by_byte() -> None:
    one, two = sentences_of(TREEBANK)
    assert (one.words, two.words) == (["il", "de", "le"], ["3 092"])
    written = conllu(one, sure(one.words, ["PRON", "ADP", "DET"]), "upos") + conllu(
        two, sure(two.words, ["NUM"]), "upos"
    )
    assert written == TREEBANK


@pytest.mark.parametrize("name", ["en_lines-ud-test.conllu", "fr_sequoia-ud-test.conllu"])
def test_published_treebanks_survive_byte_by_byte(name: str) -> None:
    path = Path(os.environ.get("UNROLLED_MIRROR", ""), name)
    if not path.is_file():
        pytest.skip(f"needs UNROLLED_MIRROR, a folder that holds {name}")
    written = []
    for sentence in sentences_of(path.read_bytes()):
        gold = [sentence.lines[place].split("\t")[3] for place in sentence.numbers]
        written.append(conllu(sentence, sure(sentence.words, gold), "upos"))
    assert "".join(written) == path.read_text(encoding="utf-8")


def test_only_the_column_of_the_tags_changes_and_marks_stand_in_misc() -> None:
    one, _ = sentences_of(TREEBANK)
    doubted = [TaggedWord(word, "Q", 0.5, word != "le") for word in one.words]
    lines = conllu(one, doubted, "xpos").split("\n")
    assert lines[5] == "3\tle\tle\tDET\tQ\t_\t2\tdet\t_\tA=b|C|Unknown=Yes|TagProb=0.50" and lines[2].endswith(
        "TagProb=0.50"
    )
    assert [lines[place] for place in (0, 1, 3, 6)] == [TREEBANK.split("\n")[place] for place in (0, 1, 3, 6)]
    assert conllu(one, doubted, "chunk", marks=False).split("\n")[5].endswith("\tA=b|C|Chunk=Q")


def test_marks_of_an_earlier_tagger_go_and_stay_without_marks() -> None:
    (one,) = sentences_of(f"1\tnew\t{chr(9).join('_' * 7)}\tTagProb=0.11|A=b|Unknown=Yes\n")
    assert conllu(one, sure(["new"], ["ADJ"]), "upos").split("\n")[0].endswith("\tADJ\t_\t_\t_\t_\t_\tA=b")
    assert "TagProb=0.11|A=b|Unknown=Yes\n" in conllu(one, sure(["new"], ["ADJ"]), "upos", marks=False)


def test_a_comment_needs_no_blank_and_a_hash_may_begin_a_sentence() -> None:
    (one,) = sentences_of("#sent_id=1\n#\n" + TREEBANK.split("\n\n")[1])
    assert (one.words, one.lines[:2]) == (["3 092"], ["#sent_id=1", "#"])
    assert [each.words for each in sentences_of("#one\n#two three\n")] == [["#one"], ["#two", "three"]]
    assert [each.words for each in sentences_of("# a sign\na word\n")] == [["#", "a", "sign"], ["a", "word"]]


def test_a_sentence_a_line_becomes_conllu() -> None:
    one, two = sentences_of("the  cat\n\nsat .\r\n")
    assert (one.words, two.words) == (["the", "cat"], ["sat", "."])
    assert conllu(one, sure(one.words, ["DET", "NOUN"]), "upos") == (
        "# text = the cat\n1\tthe\t_\tDET\t_\t_\t_\t_\t_\t_\n2\tcat\t_\tNOUN\t_\t_\t_\t_\t_\t_\n\n"
    )


def test_what_is_unknown_or_unsure_shows_in_colour() -> None:
    said = coloured(
        [TaggedWord("a", "DET", 0.99, True), TaggedWord("b", "X", 0.7, False), TaggedWord("c", "Y", 0.3, True)]
    )
    assert "DET" in said and "X?0.70" in said and "Y?0.30" in said and "\x1b[4mb" in said and "\x1b[4ma" not in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b\nc\td\n", "in:2: a tab in a sentence"),
        (b"a\n\xff\n", "in:2: not UTF-8 at byte 0"),
        (TREEBANK + "1\ta\n", "in:12: 2 column(s), where CoNLL-U has 10"),
        ("# only\n", "in: comments and no sentence"),
    ],
)
def test_what_cannot_be_read_is_one_line(text: str | bytes, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        sentences_of(text)


def test_nothing_in_is_nothing_out() -> None:
    assert sentences_of("") == sentences_of("\n\n") == []


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline's folder with a network that nobody trained."""
    place = tmp_path_factory.mktemp("workspace")
    sentences = [
        Sentence(["The", "cat", "sat"], ["DET", "NOUN", "VERB"], "d"),
        Sentence(["a", "cat"], ["DET", "NOUN"], "d"),
    ]
    settings = {"corpus": {"tags": "upos", "given": None}}
    write_text(
        place / "data/text",
        dict.fromkeys(("train", "valid", "test"), sentences),
        how="so",
        facts={"corpus": "own", "settings": settings["corpus"]},
    )
    encode(
        {"vocabulary": {"lowercase": True, "min_count": 1}},
        place / "data/text",
        place / "data/encoded",
        place / "data/corpus.json",
    )
    corpus, task = read_corpus(place / "data/encoded"), Task(TRAIN)
    network = task.model(task.sizes(corpus), NETWORK, torch.Generator().manual_seed(1))
    run = place / "served"
    run.mkdir()
    save_file(network.state_dict(), run / "weights.safetensors")
    (run / "settings.json").write_text(json.dumps({"arm": "an-arm", "network": NETWORK, "sizes": task.sizes(corpus)}))
    for name in publishing.FILES:
        shutil.copy(place / name, run)
    return place


def test_the_served_model_tags_as_the_tagger_does(workspace: Path) -> None:
    served = _load_pyfunc(str(workspace / "served"))
    answer = served.predict(["The cat", None, "a zebra sat"])
    assert answer["error"].tolist() == [None, "null is no text", None]
    assert answer["words"].tolist() == [["The", "cat"], [], ["a", "zebra", "sat"]]
    assert answer["known"].tolist() == [[True, True], [], [True, False, True]]
    assert {each["name"] for each in publishing.outputs(NETWORK)} == set(answer.columns)
    alone = next(served.tagger.tagged([["a", "zebra", "sat"]]))
    assert [each.tag for each in alone] == answer["tags"][2]
    assert [each.probability for each in alone] == pytest.approx(answer["probabilities"][2], abs=1e-6)


def test_no_threads_wait_for_each_other_while_it_tags(workspace: Path) -> None:
    served, before, used = _load_pyfunc(str(workspace / "served")), torch.get_num_threads(), set()
    served.tagger.network.register_forward_pre_hook(lambda *_: used.add(torch.get_num_threads()))
    torch.set_num_threads(2)
    try:
        served.predict(["The cat"])
        assert used == {1} and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_command_tags_what_is_piped_in(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tagger = _load_pyfunc(str(workspace / "served")).tagger
    monkeypatch.setattr(Tagger, "read", classmethod(lambda cls, *_: tagger))
    monkeypatch.chdir(workspace)
    done = CliRunner().invoke(tag, input="the cat\nzebra\n")
    assert done.exit_code == 0 and "3 words, 1 of them unknown" in done.stderr
    assert done.stdout.count("\n\n") == 2 and "Unknown=Yes" in done.stdout.split("\n\n")[1]
    done = CliRunner().invoke(tag, ["--to", "colour"], input="the cat\n")
    assert done.stdout.count("\n") == 1 and "/" in done.stdout


def test_a_network_that_is_given_tags_asks_for_them(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tagger = _load_pyfunc(str(workspace / "served")).tagger
    names, sizes = tagger.names | {"given": ["<unk>", "PRON", "ADP"]}, tagger.network.embedding.num_embeddings
    network = Network(sizes, len(names["letters"]), len(names["tags"]), 3, **NETWORK)
    told = replace(tagger, names=names, network=network, given="upos")
    monkeypatch.setattr(Tagger, "read", classmethod(lambda cls, *_: told))
    monkeypatch.chdir(workspace)
    assert CliRunner().invoke(tag, input=TREEBANK).exit_code == 0
    done = CliRunner().invoke(tag, input="the cat\n")
    assert done.exit_code == 1 and "the word 'the' has no upos tag, which this network is given" in done.stderr
    one = [["il", "de"]]
    first, second = (next(told.tagged(one, [tags])) for tags in (["PRON", "ADP"], ["ADP", "PRON"]))
    assert [each.probability for each in first] != [each.probability for each in second]
    with pytest.raises(UserError, match="an-arm is given the upos tag of each word, and here there is none"):
        next(told.tagged(one))
    served = _load_pyfunc(str(workspace / "served"))
    served.tagger = told
    answer = served.predict(pd.DataFrame({"text": ["il de"], "given": ["PRON ADP"]}))
    assert answer["probabilities"][0] == pytest.approx([each.probability for each in first], abs=1e-6)
    rows = {"text": ["il de", "il de", None, "il de", " "], "given": ["PRON", "PRON ADP", "PRON", None, ""]}
    mixed = served.predict(pd.DataFrame(rows))
    assert mixed["probabilities"][1] == pytest.approx(answer["probabilities"][0], abs=1e-6)
    assert mixed["tags"].str.len().tolist() == [0, 2, 0, 0, 0]
    assert mixed["error"].tolist() == [
        "1 given tags beside 2 words in 'il de'", None, "null is no text", "null is no text",
        "a sentence to tag must hold at least one word",
    ]  # fmt: skip


def test_without_a_trained_arm_a_line_says_so(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)
    done = CliRunner().invoke(tag, input="the cat\n")
    assert done.exit_code == 1 and "runs/ holds no trained arm of the task tagging" in done.stderr
    done = CliRunner().invoke(tag, ["--arm", "x"], input="the cat\n")
    assert "runs/x does not exist; train it with: dvc repro train@x" in done.stderr
