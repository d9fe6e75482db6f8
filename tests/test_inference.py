"""A trained arm as a person talks to it, from the command line."""

import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from miniature import arm_of
from unrolled.corpus.text_files import lines_of
from unrolled.corpus.vocabulary import build_tokenizer, encode_line
from unrolled.ground.checksums import seal
from unrolled.ground.corpus import MANIFEST, SPLITS, Text, read_corpus
from unrolled.ground.score import Sums
from unrolled.shell.cli import main
from unrolled.tasks.language_model.model.predictions import total_nats
from unrolled.tasks.language_model.text import inference
from unrolled.tasks.language_model.text.inference import Trained
from unrolled.tasks.language_model.text.serving import Scorer
from unrolled.training.fit import fit
from unrolled.training.history import History
from unrolled.training.run_directory import write_run
from unrolled.training.training import Training

LINES = ["The cat sat on the mat .", "the dog sat on the log .", "a cat saw a dog"] * 30
ENCODED = Path("data/encoded")
TEXTS = {"texts": dict.fromkeys(SPLITS, Text(9, 9, 0, 0.0)._asdict())}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two arms trained on a text of twelve words: an LSTM that knows it by heart, and a BiLSTM."""
    place = tmp_path_factory.mktemp("trained")
    encoded = place / ENCODED
    encoded.mkdir(parents=True)
    tokenizer = build_tokenizer(LINES, unit="word")
    tokenizer.save(str(encoded / "tokenizer.json"))
    tokens = np.array([index for line in LINES for index in encode_line(tokenizer, line)], dtype=np.uint16)
    for split in ("train", "valid", "test"):
        np.save(encoded / f"{split}.npy", tokens)
        np.save(encoded / f"{split}.documents.npy", np.array([0]))
    np.save(encoded / "counts.npy", np.bincount(tokens))
    seal(encoded / MANIFEST, TEXTS)
    corpus = read_corpus(encoded)
    for arm, epochs in (("lstm-clipped-1", 12), ("lstm-unclipped-1", 1), ("bilstm-clipped-1", 1)):
        settings = arm_of(arm, embedding=12, hidden=12, epochs=epochs, learning_rate=5.0, clip_norm=0.25)
        sizes = {"vocabulary": tokenizer.get_vocab_size()}
        training = Training.of(settings, sizes)
        history = History(training)
        for record in fit(training, corpus.train, corpus.valid):
            history.add(record)
        write_run(place / "runs" / arm, training, history, settings, sizes, corpus.digest)
    return place


@pytest.fixture(autouse=True)
def inside(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(workspace)
    yield


def say(*words: str, **options: Any) -> Result:
    return CliRunner().invoke(main, list(words), catch_exceptions=False, **options)


def test_the_best_arm_that_reads_from_left_to_right_finishes_a_sentence() -> None:
    result = say("generate", "the dog sat", "--temperature", "0", "--length", "5")
    assert result.exit_code == 0 and result.stderr.strip() == "lstm-clipped-1:"
    assert result.stdout.splitlines()[0].startswith("the dog sat on the ")


def test_a_seed_decides_the_texts() -> None:
    options = ("generate", "a", "--samples", "3", "--length", "8")
    one, again, other = say(*options), say(*options), say(*options, "--seed", "2")
    assert one.stdout == again.stdout != other.stdout


def test_without_a_prompt_it_begins_a_sentence_and_draws_no_unknown_word() -> None:
    result = say("generate", "--length", "200", "--temperature", "5")
    assert result.exit_code == 0 and "<unk>" not in result.stdout
    assert "<unk>" in say("generate", "--length", "400", "--temperature", "1000", "--unknown").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--arm", "bilstm-clipped-1"), "bilstm-clipped-1: a bidirectional network cannot generate"),
        (("--arm", "gru-clipped-1"), "runs/gru-clipped-1 does not exist; train it with: dvc repro train@gru-clipped-1"),
        (("--temperature", "-1"), "temperature must be 0 (greedy) or more, not -1.0"),
        (("--length", "0"), "at least 1"),
    ],
)
def test_a_mistake_is_one_line(words: tuple[str, ...], message: str) -> None:
    result = say("generate", "the", *words)
    assert result.exit_code == 1 and message in result.stderr
    assert len([line for line in result.stderr.splitlines() if line.startswith("error: ")]) == 1


def test_surprisals_are_those_of_the_text_read_as_one(workspace: Path) -> None:
    trained = Trained.read("lstm-clipped-1")
    text = "the cat sat on a mat\n\na zebra saw the dog\n"
    lines = trained.surprisals(lines_of(text))
    assert [[each.word for each in line] for line in lines] == [
        ["the", "cat", "sat", "on", "a", "mat", "<eos>"],
        ["a", "zebra", "saw", "the", "dog", "<eos>"],
    ]
    assert [each.word for line in lines for each in line if not each.known] == ["zebra"]
    ids = [index for line in text.splitlines() if line for index in encode_line(trained.tokenizer, line)]
    nats, tokens = total_nats(trained.network, np.array(ids, dtype=np.uint16), window=100)["forward"]
    bits = sum(each.bits for line in lines for each in line)
    assert bits == pytest.approx(nats / math.log(2), rel=1e-5) and tokens == 13


def test_an_arm_trained_on_each_line_anew_reads_each_anew(workspace: Path, tmp_path: Path) -> None:
    """On the command line, and as MLflow serves it."""
    lines, run = ["the cat sat on a mat", "the dog saw a cat"], workspace / "runs/lstm-clipped-1"
    trained = Trained.read("lstm-clipped-1")
    carried = trained.surprisals(lines)
    trained.network.anew = True
    alone = [trained.surprisals([line])[0] for line in lines]
    anew = trained.surprisals(lines)
    bits = [[[each.bits for each in line] for line in found] for found in (anew, alone, carried)]
    assert bits[0][1] == pytest.approx(bits[1][1], rel=1e-5) != pytest.approx(bits[2][1], rel=1e-5)
    for file in (run / "weights.safetensors", *(workspace / ENCODED / each for each in ("tokenizer.json", MANIFEST))):
        shutil.copy(file, tmp_path)
    settings = json.loads((run / "settings.json").read_text())
    settings["train"]["reset"] = "sentence"
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    served = Scorer(tmp_path).predict(["\n".join(lines), "the", "a dog\nthe"])
    assert served["nats"][0] == pytest.approx(sum(map(sum, bits[1])) * math.log(2), rel=1e-5)
    assert served["next_words"][1] == served["next_words"][2]
    assert served["next_probabilities"][1] == pytest.approx(served["next_probabilities"][2])


def test_the_best_arm_is_the_best_with_true_words() -> None:
    """What an arm pays that read its own words, or what those were worth, is no loss of the others."""
    settings = {"network": {"bidirectional": False}}
    both: Any = SimpleNamespace(settings=settings, valid=lambda: {"loss": Sums(1, 10), "teacher_loss": Sums(20, 10)})
    plain: Any = SimpleNamespace(settings=settings, valid=lambda: {"loss": Sums(15, 10)})
    none: Any = SimpleNamespace(settings=settings, valid=dict)
    assert [inference._loss(each) for each in (both, plain, none)] == [2.0, 1.5, None]


def test_score_prints_each_word_with_its_bits_and_the_perplexity() -> None:
    result = say("score", input="The cat sat on the mat .\n")
    assert result.exit_code == 0
    assert re.findall(r"(\S+)·[\d.]+", result.stdout) == ["The", "cat", "sat", "on", "the", "mat", ".", "<eos>"]
    assert "8 tokens (0 read as <unk>)" in result.stderr and "perplexity" in result.stderr
    assert "\x1b[3" in say("score", input="zebra\n", color=True).stdout


@pytest.mark.parametrize("sign", "\v\f\x1c\x1d\x1e\x85\u2028\u2029")
def test_score_cuts_a_text_into_the_lines_that_a_corpus_of_it_would_have(sign: str) -> None:
    result = say("score", input=f"\ufeffthe cat{sign}sat\r\n\n{sign}\non a mat\ra dog".encode())
    assert (result.stdout.count("\n"), result.stdout.count("<eos>")) == (3, 3)
    assert result.stdout.startswith("the·")


def test_a_prompt_of_several_lines_is_read_as_lines() -> None:
    result = say("generate", "the cat sat on the mat .\nthe dog", "--temperature", "0", "--length", "1")
    assert result.stdout.startswith("the cat sat on the mat .\nthe dog ")


def test_a_bidirectional_arm_scores_by_its_forward_head() -> None:
    assert say("score", "--arm", "bilstm-clipped-1", input="the cat\n").exit_code == 0


@pytest.mark.parametrize("bias", [math.nan, 1e38])
def test_an_arm_that_exploded_expects_nothing(monkeypatch: pytest.MonkeyPatch, bias: float) -> None:
    trained = Trained.read("lstm-unclipped-1")
    trained.network.output_bias.data[0] = bias  # of <unk>
    monkeypatch.setattr(Trained, "read", lambda arm: trained)
    result = say("score", input="the cat\n")
    assert result.exit_code == 0 and "perplexity inf" in result.stderr


@pytest.mark.parametrize(
    ("given", "message"),
    [(b"\n \n", "at least one word"), (b"caf\xe9", "the text: not UTF-8 at byte 3"), (b"", "at least one word")],
)
def test_what_cannot_be_scored_is_one_line(given: bytes, message: str) -> None:
    result = say("score", input=given)
    assert result.exit_code == 1 and message in result.stderr and result.stderr.count("\n") == 1


def test_another_corpus_is_refused(workspace: Path) -> None:
    kept = {name: (ENCODED / name).read_bytes() for name in ("test.npy", MANIFEST)}
    np.save(ENCODED / "test.npy", np.zeros(3, dtype=np.uint16))
    altered = say("generate", "the", "--arm", "lstm-clipped-1")
    (ENCODED / MANIFEST).unlink()
    seal(ENCODED / MANIFEST, TEXTS)
    another = say("generate", "the", "--arm", "lstm-clipped-1")
    for name, content in kept.items():
        (ENCODED / name).write_bytes(content)
    assert altered.exit_code == 1 and "test.npy was altered since it was written" in altered.stderr
    assert another.exit_code == 1 and "was made from another corpus" in another.stderr


def test_without_a_trained_arm_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = say("generate", "the")
    assert result.exit_code == 1 and "train them with: dvc repro" in result.stderr
