"""A trained arm as a person talks to it, from the command line."""

import contextlib
import doctest
import io
import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result

import unrolled
from miniature import ROOT, arm_of
from unrolled.corpus.files.lines import Reading, decoded_lines, lines_of
from unrolled.corpus.vocabulary import build_tokenizer, encode_line, encode_opening
from unrolled.ground.checksums import seal
from unrolled.ground.corpus import MANIFEST, SPLITS, Text, read_corpus
from unrolled.ground.resolved import RESOLVED, write_resolved
from unrolled.ground.score import Sums
from unrolled.ground.special_tokens import END_ID
from unrolled.shell.cli import main
from unrolled.shell.errors import UserError
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
        (("--samples", "9" * 23), "samples must be at least 1 and at most 1,000,000, not 99999999999999999999999"),
        (("--seed", "1" * 23), "seed must be from 0 to 4,294,967,295, not 11111111111111111111111"),
        (("--seed", "-1"), "seed must be from 0"),
        (("--nucleus", "nan"), "nucleus must be above 0"),
    ],
)
def test_a_mistake_is_one_line(words: tuple[str, ...], message: str) -> None:
    result = say("generate", "the", *words)
    assert result.exit_code == 1 and message in result.stderr
    assert len([line for line in result.stderr.splitlines() if line.startswith("error: ")]) == 1


@pytest.mark.parametrize("words", [(), ("-",)])
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_prompt_may_be_piped_in(words: tuple[str, ...], end: str) -> None:
    options = ("--temperature", "1e-320", "--length", "5")
    assert (
        say("generate", *words, *options, input=f"the dog sat{end}").stdout
        == say("generate", "the dog sat", *options, "--temperature", "0").stdout
    )


def test_a_prompt_that_is_no_text_is_one_line() -> None:
    for result, what in (
        (say("generate", input=b"caf\xe9"), "not UTF-8 at byte 3"),
        (say("generate", "caf\udce9"), r"\udce9, in line 1, is half of a character, or a byte that is not UTF-8"),
        (say("generate", "caf\0"), "not text but binary"),
    ):
        assert result.exit_code == 1
        assert f"error: the prompt: {what}" in result.stderr and result.stderr.count("error") == 1
    marked = say("generate", "--length", "1", input="the dog\r\n".encode("utf-16"))  # as PowerShell writes files
    assert marked.exit_code == 0 and marked.stdout.startswith("the dog")


def test_pieces_as_they_are_drawn_are_the_text(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many texts are drawn side by side, the first of them piece by piece."""
    trained = Trained.read("lstm-clipped-1")
    options: dict[str, Any] = {"length": 40, "seed": 1, "temperature": 3.0}
    alone = next(iter(trained.continued("the cat", **options)))
    for prompt in ("", "the cat", "a dog\n"):
        pieces = [piece for _, piece in trained.said(prompt, **options)]
        ids = [index for piece in ["".join(pieces)] for line in piece.split("\n") for index in line.split()]
        assert len(pieces) == 40 and "\n" in "".join(pieces) and ids
        assert "".join(pieces) == "\n".join(" ".join(line.split()) for line in "".join(pieces).split("\n"))
    several = trained.continued("the cat", samples=7, **options)
    assert len(several) == len(set(several)) == 7
    monkeypatch.setattr(inference, "LOGITS", 1)
    one_by_one = trained.continued("the cat", samples=7, **options)
    assert one_by_one[0] == alone and len(set(one_by_one)) == 7


def test_an_arm_that_came_to_no_good_is_named_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    read = inference.read_trained

    def diverged(*words: Any, **options: Any) -> Any:
        run, corpus = read("lstm-unclipped-1", *words[1:], **options)
        run.summary.update(diverged_at_step=9, valid={})
        return run, corpus

    monkeypatch.setattr(inference, "read_trained", diverged)
    only = say("generate", "the")
    assert only.exit_code == 1 and only.stderr.startswith("error: lstm-unclipped-1 diverged at step 9, before an epoch")
    named = say("generate", "the", "--arm", "lstm-unclipped-1")
    assert named.exit_code == 0 and named.stderr == "lstm-unclipped-1 (diverged at step 9):\n"
    assert "lstm-unclipped-1 (diverged at step 9): 2 tokens" in say("score", "--arm", "x", input="the\n").stderr


def test_of_arms_that_diverged_the_last_to_do_so_comes_first() -> None:
    runs: list[Any] = [
        SimpleNamespace(settings={"network": {"bidirectional": both}}, valid=dict, summary={"diverged_at_step": step})
        for both, step in ((False, 3), (False, 9), (True, 20), (False, None))
    ]
    ranks = [inference._rank(each) for each in runs]
    assert ranks[2] is ranks[3] is None and ranks[1] is not None and ranks[0] is not None and ranks[1] < ranks[0]


def test_a_scored_line_has_its_sum_and_marks_what_it_does_not_know() -> None:
    result = say("score", input="the zebra\n\na dog\n")
    lines = result.stdout.splitlines()
    assert re.fullmatch(r"the·[\d.]+ zebra·<unk>·[\d.]+ <eos>·[\d.]+  = [\d.]+ bits", lines[0]) and len(lines) == 2
    for line in lines:
        bits = [float(each) for each in re.findall(r"·([\d.]+)(?: |$)", line)]
        assert float(line.split("= ")[1].split()[0]) == pytest.approx(sum(bits), abs=0.06 * len(bits))
    assert "state carried from line to line" in result.stderr
    assert "<unk>: 1 not in the vocabulary; why, data/text of its corpus would tell" in result.stderr
    shown = say("score", input="zebra\n", color=True).stdout
    assert shown.startswith("\x1b[4mzebra·<unk>·") and "\x1b[32mzebra" not in shown


def test_json_and_csv_say_the_same(workspace: Path) -> None:
    text = 'the zebra, "\n\na dog\n'
    rows = [json.loads(line) for line in say("score", "--json", input=text).stdout.splitlines()]
    table = pd.read_csv(io.StringIO(say("score", "--csv", input=text).stdout))
    assert [(row["line"], row["tokens"], row["unknown"]) for row in rows] == [(1, 5, 3), (2, 3, 0)]
    words = [(row["line"], each) for row in rows for each in row["words"]]
    assert table["word"].tolist() == [each["word"] for _, each in words]
    assert table["word"].tolist()[:4] == ["the", "zebra", ",", '"']
    assert table["line"].tolist() == [number for number, _ in words]
    assert table["bits"].tolist() == pytest.approx([each["bits"] for _, each in words])
    assert table["known"].tolist() == [each["known"] for _, each in words]
    assert table["why"].dropna().tolist() == ["untold"] * 3
    for row in rows:
        assert row["bits"] == pytest.approx(sum(each["bits"] for each in row["words"]), abs=1e-3)


def test_lines_may_be_read_anew(workspace: Path) -> None:
    def bits(text: str, *words: str) -> list[float]:
        return [json.loads(line)["bits"] for line in say("score", "--json", *words, input=text).stdout.splitlines()]

    alone = bits("the cat sat\n") + bits("a dog\n")
    anew = bits("the cat sat\na dog\n", "--state", "anew")
    carried = bits("the cat sat\na dog\n", "--state", "carried")
    assert anew == pytest.approx(alone, abs=1e-3) and carried[1] != pytest.approx(anew[1], abs=1e-3)
    assert "state started anew at each line" in say("score", "--state", "anew", input="a\n").stderr


def test_no_color_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in say("score", input="the zebra\n", color=True).output
    monkeypatch.setenv("NO_COLOR", "")
    assert "\x1b" in say("score", input="the zebra\n", color=True).output


def test_it_is_talked_to_from_a_folder_below(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "params.yaml", workspace)
    (workspace / ".dvc").mkdir()
    (workspace / "docs").mkdir()
    (workspace / "docs/own.txt").write_text("the cat\n")
    monkeypatch.chdir(workspace / "docs")
    assert say("score", "own.txt").exit_code == say("generate", "the").exit_code == 0


def test_a_row_that_cannot_be_scored_harms_no_other(workspace: Path, tmp_path: Path) -> None:
    run = workspace / "runs/lstm-clipped-1"
    for file in (run / "weights.safetensors", run / "settings.json"):
        shutil.copy(file, tmp_path)
    for name in ("tokenizer.json", MANIFEST):
        shutil.copy(workspace / ENCODED / name, tmp_path)
    rows = ["the cat", "", None, "a zebra and a dog", " \n", math.nan, 3, "a\0b", "\ud800", "the cat"]
    found = Scorer(tmp_path).predict(pd.DataFrame({"text": pd.Series(rows, dtype=object)}))
    good = [0, 3, 9]
    alone = Scorer(tmp_path).predict([str(rows[index]) for index in good])
    pd.testing.assert_frame_equal(found.iloc[good].reset_index(drop=True), alone)
    assert alone["unknown"].tolist() == [0, 2, 0] and alone["error"].tolist() == [None] * 3
    bad = found.drop(index=good)
    assert bad["error"].str.len().gt(5).all() and bad["error"][2] == bad["error"][5] == "null is no text"
    assert bad["nats"].isna().all() and bad["tokens"].eq(0).all() and not bad["next_words"].str.len().any()


def test_surprisals_are_those_of_the_text_read_as_one(workspace: Path) -> None:
    trained = Trained.read("lstm-clipped-1")
    text = "the cat sat on a mat\n\na zebra saw the dog\n"
    lines = list(trained.surprisals(lines_of(text)))
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
    carried = list(trained.surprisals(lines))
    trained.network.anew = True
    alone = [each for line in lines for each in trained.surprisals([line])]
    anew = list(trained.surprisals(lines))
    bits = [[[each.bits for each in line] for line in found] for found in (anew, alone, carried)]
    # Of a word that is nearly sure they are a small difference of logits, which single precision has to 1e-6.
    assert bits[0][1] == pytest.approx(bits[1][1], rel=1e-5, abs=1e-6) != pytest.approx(bits[2][1], rel=1e-2)
    for file in (run / "weights.safetensors", *(workspace / ENCODED / each for each in ("tokenizer.json", MANIFEST))):
        shutil.copy(file, tmp_path)
    settings = json.loads((run / "settings.json").read_text())
    settings["train"]["reset"] = "sentence"
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    served = Scorer(tmp_path).predict(["\n".join(lines), "the", "a dog\nthe"])
    assert served["nats"][0] == pytest.approx(sum(map(sum, bits[1])) * math.log(2), rel=1e-5)
    assert served["next_words"][1] == served["next_words"][2]
    assert served["next_probabilities"][1] == pytest.approx(served["next_probabilities"][2])


@pytest.fixture
def served(workspace: Path, tmp_path: Path) -> Path:
    """The files of an arm as MLflow is given them."""
    run = workspace / "runs/lstm-clipped-1"
    files = [run / "weights.safetensors", run / "settings.json"]
    for file in (*files, *(workspace / ENCODED / each for each in ("tokenizer.json", MANIFEST))):
        shutil.copy(file, tmp_path)
    return tmp_path


@pytest.mark.parametrize("blank", ["drop", "paragraphs", "keep"])
def test_lines_are_those_of_the_corpus_that_it_was_trained_on(
    workspace: Path, served: Path, monkeypatch: pytest.MonkeyPatch, blank: str
) -> None:
    """Training, `score`, `generate` and the served model cut a text in one way, blank lines among it."""
    text = "\ufeffthe cat\r\n\r\n\u2028\n\n\na dog\fsat\n"
    reading = Reading(blank_lines=blank)  # type: ignore[arg-type]
    expected = list(decoded_lines(io.BytesIO(text.encode()), "a corpus", reading))
    assert len(expected) == {"drop": 2, "paragraphs": 3, "keep": 6}[blank]
    for folder in (ENCODED, served):
        manifest = json.loads((folder / MANIFEST).read_text())
        kept = {key: manifest[key] for key in TEXTS} | {"settings": {"corpus": {"name": "text", "blank_lines": blank}}}
        monkeypatch.setattr(inference, "read_sealed", lambda *_: kept)  # noqa: B023
        if folder == served:
            (folder / MANIFEST).write_text(json.dumps(manifest | kept))
    trained = Trained.read("lstm-clipped-1")
    assert trained.reading == reading
    ids = [index for line in expected for index in encode_line(trained.tokenizer, line)]
    assert encode_opening(trained.tokenizer, text, trained.reading) == ids
    result = say("score", "--arm", "lstm-clipped-1", input=text.encode())
    assert result.stdout.count("<eos>") == len(expected)
    assert Scorer(served).predict([text])["tokens"].tolist() == [len(ids)]


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
    monkeypatch.setattr(Trained, "read", lambda *_: trained)
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


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gru-clipped", "runs/gru-clipped-1 does not exist; train it with: dvc repro train@gru-clipped-1"),
        ("nope", "there is no arm 'nope'; params.yaml has a-1, a-2, gru-clipped-1"),
        ("", "there is no arm ''; params.yaml has a-1, a-2, gru-clipped-1"),
        ("a", "a has the seeds 1, 2: name one, as a-1"),
    ],
)
def test_an_arm_that_is_not_there_is_told_from_one_that_is_not_trained(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / RESOLVED).mkdir()
    for arm in ("gru-clipped-1", "a-1", "a-2"):
        write_resolved(f"arms/{arm}", {}, tmp_path / RESOLVED)
    monkeypatch.chdir(tmp_path)
    result = say("generate", "the", "--arm", name)
    assert result.exit_code == 1 and message in result.stderr and result.stderr.count("\n") == 1


def test_what_only_reads_leaves_our_loops_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their compiler would take most of the time that a short text takes."""
    trained = Trained.read("lstm-clipped-1")
    monkeypatch.setattr("unrolled.recurrence.bptt.pack", None)
    assert list(trained.surprisals(["the cat"])) and trained.continued("the", length=2, seed=1)


def test_without_a_trained_arm_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = say("generate", "the")
    assert result.exit_code == 1 and "train them with: dvc repro" in result.stderr


def test_a_script_has_what_the_commands_have() -> None:
    (example,) = doctest.DocTestFinder().find(unrolled.load, "load", globs={})
    shutil.copytree("runs/lstm-clipped-1", "kept/runs/lstm-clipped-1")
    Path("kept/data").symlink_to(Path("data").absolute())
    with contextlib.chdir("kept"):  # one arm of the name, so that its seed goes without saying
        assert doctest.DocTestRunner().run(example).failed == 0
    model, text = unrolled.load(Path("runs/lstm-clipped-1")), "the dog sat on the mat .\n\na cat saw the dog"
    trained = Trained.read("lstm-clipped-1")
    lines = list(lines_of(text, trained.reading))
    assert model.arm == "lstm-clipped-1" and model.surprisals(text) == list(trained.surprisals(lines))
    assert model.continue_("a", seed=3) == trained.continued("a", length=60, seed=3)[0]
    profile, ids = model.profile(text), trained.ids(text)
    read = torch.tensor([END_ID, *ids[:-1]])[:, None]
    hidden = trained.network.read("forward", read, trained.network.initial_state(1).forward)[0][-1]
    nats = torch.nn.functional.cross_entropy(trained.network.logits(hidden), torch.tensor(ids[-1:]))
    assert list(profile) == ["forward.0"] and len(profile["forward.0"]) == len(ids)
    assert profile["forward.0"][0].item() == pytest.approx(torch.autograd.grad(nats, hidden)[0].norm().item(), rel=1e-5)


@pytest.mark.parametrize("without", [torch.no_grad, torch.inference_mode])
def test_a_script_that_has_gradients_off_has_the_same(without: Any) -> None:
    text, names = "the dog sat", ("surprisals", "continue_", "profile")
    expected = [getattr(unrolled.load("runs/lstm-clipped-1"), name)(text) for name in names]
    with without():
        model = unrolled.load("runs/lstm-clipped-1")
        found = [getattr(model, name)(text) for name in names]
        assert not torch.is_grad_enabled()
    assert found[:2] == expected[:2]
    torch.testing.assert_close([found[2], model.profile(text)], [expected[2]] * 2, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("place", "text", "said"),
    [
        ("runs/none", "", "runs/none is no run directory; name one as runs/lstm-clipped"),
        ("data/encoded", "", "data/encoded is no run directory"),
        ("runs/lstm-clipped-1", "", "must hold at least one word"),
    ],
)
def test_what_a_script_has_wrong_is_said_in_one_line(place: str, text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        unrolled.load(place).profile(text)


@pytest.mark.parametrize(
    ("within", "name"),
    [("runs", "lstm-clipped-1"), ("runs/lstm-clipped-1", "."), ("data", "../data/../runs/lstm-clipped-1/")],
)
def test_a_run_is_named_from_wherever_a_script_stands(within: str, name: str) -> None:
    with contextlib.chdir(within):
        assert unrolled.load(name).arm == "lstm-clipped-1"


@pytest.mark.parametrize("wrong", [None, 3, b"the dog", ["the", "dog"]])
def test_what_is_no_text_is_named(wrong: Any) -> None:
    model = unrolled.load("runs/lstm-clipped-1")
    for asked in (model.surprisals, model.continue_, model.profile):
        with pytest.raises(TypeError, match=f"^a text is a string, not {type(wrong).__name__}$"):
            asked(wrong)


def test_a_network_of_another_task_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "runs/parity-1").mkdir(parents=True)
    (tmp_path / "runs/parity-1/settings.json").write_text('{"task": "tagging"}')
    with pytest.raises(UserError, match="is of the task tagging; loaded are only networks of language_model"):
        unrolled.load(tmp_path / "runs/parity-1")
