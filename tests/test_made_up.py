"""Made-up text through the pipeline: its floors stand beside its tokens, and no honest evaluation goes below them."""

import copy
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML
from torch import nn
from torch.nn.functional import cross_entropy

from miniature import ROOT, arm_of, compare_drawing_svg_alone, run_stage, section_of
from speakers import Oracle, check_perfect
from unrolled.corpus import plain_text
from unrolled.corpus.catalogue import MADE_UP
from unrolled.corpus.made_up import made_up
from unrolled.corpus.sources.agreement import Role
from unrolled.corpus.sources.hidden_markov import HiddenMarkov
from unrolled.corpus.sources.topics import topics
from unrolled.corpus.vocabulary import END
from unrolled.ground.corpus import Corpus, Split, read_corpus
from unrolled.ground.special_tokens import END_ID
from unrolled.recurrence.profile import Profile
from unrolled.scoring.source import Listener, Source
from unrolled.settings import sections
from unrolled.settings.loader import params_of
from unrolled.shell.errors import UserError
from unrolled.tasks.language_model.evaluation import floors
from unrolled.tasks.language_model.evaluation.own_sentences import against_the_source
from unrolled.tasks.language_model.evaluation.scores import SCORES
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.probes.arrival import arrivals
from unrolled.training.training import Training

PARAMS = YAML(typ="safe", pure=True).load((ROOT / "pipelines/known-entropy/params.yaml").read_text(encoding="utf-8"))
OWN = json.loads((ROOT / "pipelines/known-entropy/source.json").read_text(encoding="utf-8"))
SOURCES: dict[str, dict[str, Any]] = {
    "agreement": {"distances": [1, 2], "classes": 3, "noise": 0.1, "fillers": 2},
    "topics": {"topics": 2, "words": 4, "stay": 10.0, "noise": 0.2, "end": 0.2},
    "brackets": {"kinds": 2, "depth": 2},
    "hidden-markov": {},
}
VOCABULARY = {"unit": "word", "lowercase": True, "min_count": 1, "max_size": None}
SETTINGS = section_of("evaluate", bootstrap_samples=50)


def settings_of(name: str, tokens: int = 6000, **source: Any) -> dict[str, Any]:
    return PARAMS["corpus"] | {
        "name": name,
        "path": str(ROOT / "pipelines/known-entropy/source.json"),
        "valid_share": 0.1,
        "test_share": 0.4,
        "source": {"tokens": tokens, **SOURCES[name], **source},
    }


def encoded(place: Path, name: str, tokens: int = 6000, **source: Any) -> Corpus:
    plain_text.read(settings_of(name, tokens, **source), place / "raw", place / "text")
    told = {"corpus": {"name": name}, "vocabulary": VOCABULARY}
    plain_text.encode(told, place / "text", place / "encoded", place / "corpus.json")
    return read_corpus(place / "encoded")


def test_every_source_is_tried_here() -> None:
    assert tuple(SOURCES) == MADE_UP == tuple(sections.SOURCES)


@pytest.mark.parametrize("name", SOURCES)
def test_what_is_known_stands_beside_the_token_that_it_is_known_of(tmp_path: Path, name: str) -> None:
    corpus = encoded(tmp_path, name)
    documents, arrays = made_up(settings_of(name))
    drawn = [
        word for each in documents if each.split == "test" for line in each.lines() for word in (*line.split(), END)
    ]
    ids = json.loads((tmp_path / "encoded" / "tokenizer.json").read_text())["model"]["vocab"]
    assert corpus.test.tokens.tolist() == [ids[word] for word in drawn]
    known = {file.removeprefix("test."): array for file, array in arrays.items() if file.startswith("test.")}
    assert all(len(array) == len(drawn) for array in known.values())
    for file, array in known.items():
        assert np.array_equal(corpus.test.arrays[file], array)
    source = {file: array for file, array in arrays.items() if file.startswith("source.")}
    assert len(source) + len(known) == len(arrays)
    words = source.pop("source.words").tolist()
    assert [ids[word] for word in words] == corpus.arrays["source.ids"].tolist()
    assert all(np.array_equal(corpus.arrays[file], array) for file, array in source.items())
    causal, backward = corpus.test.arrays["causal"], corpus.test.arrays["backward"]
    assert causal.sum() == pytest.approx(backward.sum(), rel=1e-9)  # either way they are the text's own nats
    assert "causal" not in corpus.train.arrays and len(corpus.train.tokens) > len(corpus.valid.tokens)


def test_the_same_seed_draws_the_same_text_and_no_split_repeats_another() -> None:
    def words(seed: int) -> dict[str, list[str]]:
        documents, _ = made_up(settings_of("agreement") | {"seed": seed})
        return {split: [line for each in documents if each.split == split for line in each.lines()]
                for split in ("train", "valid", "test")}  # fmt: skip

    first = words(1)
    assert first == words(1) != words(2)
    assert first["train"][:50] != first["test"][:50] != first["valid"][:50]


@pytest.fixture(scope="module")
def agreement(tmp_path_factory: pytest.TempPathFactory) -> Split:
    return encoded(tmp_path_factory.mktemp("agreement"), "agreement", 20000, distances=[2, 6]).test


def test_who_pays_the_floor_recalls_all_and_who_forgets_recalls_nothing(agreement: Split) -> None:
    arrays = agreement.arrays
    perfect = {score: np.array(arrays[floor]) for score, (floor, _) in floors.FLOORS.items()}
    found = floors.excess(agreement, perfect)
    assert set(found) == {"forward_excess", "backward_excess", "joined_excess", "reset_excess"}
    assert all(not units.any() for units in found.values())
    floors.no_head_beats_its_floor(agreement, perfect, SETTINGS)
    shown = floors.tables(agreement, perfect["forward_perplexity"], found, SETTINGS)
    assert (shown["recall"]["recall"] == 1).all() and not shown["by_role"]["forward_excess"].any()
    assert shown["by_role"]["tokens"].sum() == len(agreement.tokens)
    assert floors.span(agreement, perfect["forward_perplexity"], SETTINGS)["memory_span"] > 15
    bigram = np.array(arrays["ngrams"])[:, 1]
    assert floors.span(agreement, bigram, SETTINGS)["memory_span"] == 0
    recall = floors.tables(agreement, bigram, floors.excess(agreement, {"forward_perplexity": bigram}), SETTINGS)[
        "recall"
    ]
    assert np.average(recall["recall"], weights=recall["verbs"]) == pytest.approx(0, abs=1e-12)
    assert set(floors.excess(agreement, {"forward_perplexity": bigram}, 2)) == {"forward_excess"}
    assert not floors.excess(agreement, {"forward_perplexity": bigram}, 2)["forward_excess"].any()
    assert floors.excess(agreement, {"forward_perplexity": bigram}, 99) == {}


@pytest.mark.parametrize("reach", [1, 3, 8])
def test_the_memory_span_is_where_recall_falls(agreement: Split, reach: int) -> None:
    """Of who knows the subject up to a distance and no further, to the width of two bins."""
    arrays = agreement.arrays
    near = np.asarray(arrays["distances"]) <= reach
    nats = np.where(near, arrays["causal"], np.asarray(arrays["ngrams"])[:, 1])
    found = floors.span(agreement, nats, SETTINGS)
    before = max((each for each in floors.BINS if each < reach), default=1)
    later = sorted(each for each in floors.BINS if each > reach)[1]
    assert before <= found["memory_span_low"] <= found["memory_span"] <= found["memory_span_high"] <= later


def test_who_predicts_no_numbers_remembers_nothing(agreement: Split) -> None:
    found = floors.span(agreement, np.full(len(agreement.tokens), np.inf, dtype=np.float32), SETTINGS)
    assert found["memory_span"] == found["memory_span_low"] == found["memory_span_high"] == 0
    assert found["recall"] == -math.inf


def naive_bilstm(tokens: torch.Tensor, types: int) -> "np.ndarray[Any, Any]":
    """Nats of a network that is to say x_t from what both directions have read at t - 1, as is often built.

    The direction from the right has read x_t by then.
    """
    generator = torch.Generator().manual_seed(1)
    embedding, stack, head = nn.Embedding(types, 16), nn.LSTM(16, 24, bidirectional=True), nn.Linear(48, types)
    parameters = [*embedding.parameters(), *stack.parameters(), *head.parameters()]
    for each in parameters:
        nn.init.uniform_(each, -0.2, 0.2, generator=generator)
    adam = torch.optim.Adam(parameters, 0.02)

    def nats(columns: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
        scores = head(stack(embedding(columns))[0][:-1])
        return cross_entropy(scores.flatten(0, 1), columns[1:].flatten(), reduction=reduction)

    columns = tokens[: len(tokens) // 32 * 32].view(32, -1).t()
    for _ in range(60):
        adam.zero_grad()
        nats(columns[:100]).backward()
        adam.step()
    with torch.no_grad():
        return np.concatenate([[10.0], nats(tokens[:, None], "none").numpy()])


def test_a_head_that_has_seen_its_target_is_found_out(agreement: Split) -> None:
    tokens = torch.from_numpy(np.array(agreement.tokens, dtype=np.int64))
    nats = {"forward_perplexity": naive_bilstm(tokens, int(tokens.max()) + 1)}
    with pytest.raises(
        UserError, match="check failed: no model pays less than the floor of its text: forward excess -"
    ):
        floors.no_head_beats_its_floor(agreement, nats, SETTINGS)


def test_both_sides_may_pay_less_than_the_forward_floor_and_never_less_than_their_own(agreement: Split) -> None:
    smoothing = np.array(agreement.arrays["smoothing"])
    floors.no_head_beats_its_floor(agreement, {"pseudo_perplexity": smoothing}, SETTINGS)
    with pytest.raises(UserError, match="joined excess"):
        floors.no_head_beats_its_floor(agreement, {"pseudo_perplexity": smoothing - 0.01}, SETTINGS)
    for name in floors.FORWARD:
        with pytest.raises(UserError, match=f"{name} excess"):
            floors.no_head_beats_its_floor(agreement, {f"{name}_perplexity": smoothing}, SETTINGS)


def test_every_score_of_a_token_has_a_floor() -> None:
    assert set(floors.LEAST) == {score.name for score in SCORES if score.column != "floor"}


def test_who_was_lucky_is_not_accused() -> None:
    """A rare word is no part of a short text, and who expects it less often than it comes pays less for all others."""
    source = HiddenMarkov([1], [[1]], [[0.899, 0.001, 0.1]], ["common", "rare", "<eos>"])
    text = np.tile([0] * 9 + [2], 50)
    causal, documents = source.causal_nats(text), np.arange(0, len(text), 20)
    split = Split(text.astype(np.uint16), documents, {"causal": causal})
    lucky, leaky = {"forward_perplexity": causal - 0.001}, {"forward_perplexity": causal - 0.05}
    floors.no_head_beats_its_floor(split, lucky, SETTINGS)
    with pytest.raises(UserError, match=r"forward excess -0\.0500"):
        floors.no_head_beats_its_floor(split, leaky, SETTINGS)


def test_who_knows_of_slow_changes_is_not_accused() -> None:
    """Training and test happen to be of one topic: who reads each sentence anew knows it, and its floor does not."""
    source = topics(states=2, words=4, stay=1e5, noise=0.2, end=0.1)
    text = source.sample(4000, np.random.default_rng(1))
    arrays = {"causal": source.causal_nats(text), "reset": source.reset_nats(text, 4)}
    split = Split(text.astype(np.uint16), np.arange(0, len(text), 100), arrays)
    informed = {"reset_perplexity": arrays["causal"]}
    assert floors.excess(split, informed)["reset_excess"].mean() < -0.01
    floors.no_head_beats_its_floor(split, informed, SETTINGS)


@pytest.mark.parametrize("noise", [0.5, 0.49])
def test_of_verbs_that_hardly_agree_no_memory_is_told(tmp_path: Path, noise: float) -> None:
    split = encoded(tmp_path, "agreement", 1000, classes=2, noise=noise).test
    nats = {"forward_perplexity": np.array(split.arrays["causal"])}
    assert floors.span(split, nats["forward_perplexity"], SETTINGS) == {}
    assert set(floors.tables(split, *nats.values(), floors.excess(split, nats), SETTINGS)) == {"by_role"}


def test_roles_are_numbered_as_their_source_numbers_them() -> None:
    assert tuple(role.name.lower() for role in Role) == floors.ROLES


def test_other_text_has_no_floor() -> None:
    split = Split(np.zeros(5, np.uint16), np.zeros(1, np.int64), {})
    nats = np.ones(5)
    assert floors.excess(split, {"forward_perplexity": nats}) == {}
    assert floors.tables(split, nats, {}, SETTINGS) == {} and floors.span(split, nats, SETTINGS) == {}


def with_source(change: Callable[[dict[str, Any]], Any]) -> str:
    params = copy.deepcopy(PARAMS)
    change(params["corpus"])
    return json.dumps(params)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda corpus: corpus.update(source=None), "drawn with tokens, distances, classes, noise, fillers"),
        (lambda corpus: corpus.update(name="ptb"), "is what made-up text is drawn with"),
        (lambda corpus: corpus["source"].update(distances=[0]), "'source.distances': 0: .*greater than or equal to 1"),
        (lambda corpus: corpus["source"].update(distance=[1]), "unknown key 'distance'; did you mean 'distances'"),
        (lambda corpus: corpus["source"].update(classes=1), "'source.classes': 1"),
        (lambda corpus: corpus["source"].update(noise=1.0), "'source.noise': 1.0"),
        (lambda corpus: corpus["source"].pop("fillers"), "key 'source.fillers' is missing"),
        (lambda corpus: corpus["source"].update(tokens=3), "'source.tokens': 3"),
    ],
)
def test_a_source_that_is_none_is_told_in_one_line(change: Callable[[dict[str, Any]], Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        params_of(with_source(change), "params.yaml")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("vocabulary", [{"min_count": 2}, {"unit": "character"}, {"max_size": 5}])
def test_a_vocabulary_that_leaves_words_out_is_refused(tmp_path: Path, vocabulary: dict[str, Any]) -> None:
    plain_text.read(settings_of("agreement"), tmp_path / "raw", tmp_path / "text")
    told = {"corpus": {"name": "agreement"}, "vocabulary": VOCABULARY | vocabulary}
    with pytest.raises(UserError, match=r"set vocabulary\.unit to word, min_count to 1 and max_size to null"):
        plain_text.encode(told, tmp_path / "text", tmp_path / "encoded", tmp_path / "corpus.json")
    assert not (tmp_path / "encoded").exists()


NEVER_BACK = {"start": [1, 0], "transitions": [[0.9, 0.1], [0, 1]]}
APART = {"transitions": [[1, 0], [0, 1]]}
MIDWAY = {"start": [0.3, 0.7], "transitions": [[0, 1], [1, 0]], "emissions": [[0.5, 0.5, 0], [0, 0.5, 0.5]]}
ONLY_ENDS = {"words": ["<eos>"], "start": [1], "transitions": [[1]], "emissions": [[1]]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"words": ["sun", "rain", "stop"]}, "no word is <eos>, which ends a sentence"),
        ({"words": ["sun", "sun", "<eos>"]}, "words: 'sun' is there 2 times"),
        ({"words": ["sun", "<unk>", "<eos>"]}, "the word <unk> stands for words that the vocabulary lacks"),
        (ONLY_ENDS, "its only word is <eos>"),
        (MIDWAY, "start: the text may begin in state 1, and behind <eos> no sentence does"),
        (NEVER_BACK, "transitions: the text leaves state 0 and never comes back"),
        (APART, "transitions: no way leads from state 0 to 1 or back"),
    ],
)
def test_a_source_of_ones_own_must_say_sentence_after_sentence(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = tmp_path / "own.json"
    path.write_text(json.dumps(OWN | changes))
    with pytest.raises(UserError, match=re.escape(f"{path}: {message}")):
        made_up(settings_of("hidden-markov") | {"path": str(path)})


@pytest.mark.parametrize("ends", [0.0, 0.9])
def test_sentences_may_repeat_each_other_or_say_nothing(tmp_path: Path, ends: float) -> None:
    """Documents that say the same in several splits, and such as say nothing at all, are no fault of a made-up text."""
    emissions = [[1 - ends, ends], [0, 1]]  # `word <eos>` for ever, or mostly `<eos>` alone
    source = {"words": ["word", "<eos>"], "start": [1, 0], "transitions": [[0, 1], [1, 0]], "emissions": emissions}
    (tmp_path / "own.json").write_text(json.dumps(source))
    settings = settings_of("hidden-markov", 1500) | {"path": str(tmp_path / "own.json")}
    plain_text.read(settings, tmp_path / "raw", tmp_path / "text")
    told = {"corpus": {"name": "hidden-markov"}, "vocabulary": VOCABULARY}
    plain_text.encode(told, tmp_path / "text", tmp_path / "encoded", tmp_path / "corpus.json")
    test = read_corpus(tmp_path / "encoded").test
    assert len(test.tokens) == len(test.arrays["causal"]) >= 590


def test_words_that_training_never_shows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"words that training never shows \('.*' is such a word\).*raise corpus.source"
    ):
        encoded(tmp_path, "agreement", 600, classes=100)
    assert not (tmp_path / "encoded").exists() and not (tmp_path / "corpus.json").exists()


def test_a_text_in_which_no_sentence_ends_is_told(tmp_path: Path) -> None:
    rare = OWN | {"emissions": [[0.8, 0.2 - 1e-7, 1e-7], [0.2, 0.8 - 1e-7, 1e-7]]}
    (tmp_path / "own.json").write_text(json.dumps(rare))
    with pytest.raises(UserError, match=r"no sentence ends within 50 tokens; raise corpus\.source\.tokens"):
        made_up(settings_of("hidden-markov", 100) | {"path": str(tmp_path / "own.json")})


def test_the_pipeline_says_what_is_paid_over_the_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = copy.deepcopy(PARAMS)
    params["corpus"] = settings_of("agreement", 4000)
    params["network"] |= {"embedding": 8, "hidden": 8}
    params["train"] |= {"epochs": 1, "window": 16}
    params["evaluate"] |= {"bootstrap_samples": 20, "own_sentences": 50}
    params["probe"] |= {"positions": 50, "lyapunov_steps": 20, "contexts": [1, 5]}
    params["arch"] = {
        "bilstm": params["arch"]["bilstm"],
        "rnn": {"cell": "rnn", "learning_rate": 0.05, "reset": "sentence"},
    }
    params["clipping"] = {"clipped": params["clipping"]["clipped"]}
    (tmp_path / "params.yaml").write_text(json.dumps(params))
    monkeypatch.chdir(tmp_path)
    for name in ("resolve", "fetch", "preprocess", "vocabulary"):
        run_stage(name)
    run_stage("baseline", "kneser_ney")
    for name in ("train", "evaluate", "probe"):
        for arm in ("bilstm-clipped-1", "rnn-clipped-1"):
            run_stage(name, arm)
    compare_drawing_svg_alone()
    metrics = json.loads(Path("metrics.json").read_text())
    arm, peer = metrics["bilstm-clipped"], metrics["kneser_ney"]
    assert {"forward_excess", "backward_excess", "joined_excess", "reset_excess", "memory_span"} <= set(arm)
    assert arm["forward_excess"] == pytest.approx(arm["nats_over_floor"], abs=1e-6) and arm["forward_excess"] > 0
    assert 0 < peer["nats_over_floor"] < arm["forward_excess"]
    page = Path("report/index.html").read_text()
    assert "Over the floor" in page and "recall by distance" in page and Path("report/figures/recall.svg").is_file()
    assert set(pd.read_csv("report/plots/recall.csv")["arm"]) == {"bilstm-clipped-1", "rnn-clipped-1"}
    assert "Finishing the sentence" in page and Path("report/figures/own_by_place.svg").is_file()
    assert "Not measured: bilstm-clipped, as a bidirectional network has no next word to say." in page
    assert set(pd.read_csv("report/plots/own_sentences.csv")["arm"]) == {"rnn-clipped-1"}
    anew = metrics["rnn-clipped"]
    assert anew["own_words_nats"] > 0 and "own_words_nats" not in arm
    # Trained on each sentence from a zero state, and so it is measured.
    assert anew["nats_over_floor"] == pytest.approx(anew["reset_excess"], abs=1e-6) != anew["forward_excess"]
    by_role = pd.read_csv("evaluation/rnn-clipped-1/by_role.csv")
    told = np.average(by_role["forward_excess"], weights=by_role["tokens"])
    assert told == pytest.approx(anew["reset_excess"], abs=1e-6)


@pytest.mark.parametrize("name", SOURCES)
def test_the_source_that_is_read_back_speaks_for_itself(tmp_path: Path, name: str) -> None:
    """Its floors are those of the text, token by token, and its own sentences are perfect."""
    corpus = encoded(tmp_path, name)
    source, ids = Source.of(corpus.arrays, len(corpus.counts)), np.asarray(corpus.test.tokens, dtype=np.int64)
    assert source is not None
    listener, found = Listener.anew(source, 1), []
    for word in ids[:300]:
        assert listener.expects().sum() == pytest.approx(1)
        found.append(-math.log(listener.reads(np.array([word]))[0]))
        if word == END_ID:
            listener = Listener.anew(source, 1)
    assert np.array(found) == pytest.approx(np.asarray(corpus.test.arrays["reset"])[:300], abs=1e-9)
    settings = section_of("evaluate", own_sentences=150, bootstrap_samples=50)
    speaker: Any = Oracle(source)
    tables = against_the_source(speaker, corpus, source, np.asarray(corpus.test.arrays["causal"]), settings)
    check_perfect(tables | {"own_sentences": tables["own_sentences"].set_index("figure")})
    assert ("own_by_distance" in tables) == (name == "agreement")
    speaker.anew = True  # what stands before a sentence it never knows, and nobody asks it to
    tables = against_the_source(speaker, corpus, source, np.asarray(corpus.test.arrays["reset"]), settings)
    check_perfect(tables | {"own_sentences": tables["own_sentences"].set_index("figure")})


def test_what_arrives_at_a_subject_is_the_gradient_of_one_window_there(tmp_path: Path) -> None:
    test = encoded(tmp_path, "agreement").test
    arm = arm_of("lstm-clipped-1", hidden=8, embedding=8)
    network = Training.of(arm, {"vocabulary": int(test.tokens.max()) + 1}).model
    assert isinstance(network, Network)
    found = arrivals(network, test)
    assert len(found) >= 2 and found["distance"].is_monotonic_increasing
    for distance, targets, arrived, _ in found.itertuples(index=False):
        steps = int(distance) + 2
        verbs = np.flatnonzero(np.asarray(test.arrays["distances"]) == distance)
        verbs = verbs[verbs >= 2 * steps]
        chosen = verbs[np.unique(np.linspace(0, len(verbs) - 1, 64, dtype=np.int64))]
        assert len(chosen) == targets
        rows = torch.from_numpy(test.tokens[chosen + np.arange(-2 * steps, 0)[:, None]].astype(np.int64))
        _, state = network.read("forward", rows[:steps], network.initial_state(len(chosen)).forward)
        state, profile = tuple(tuple(part.detach() for part in layer) for layer in state), Profile()
        hidden, _ = network.read("forward", rows[steps:], state, profile=profile)
        said = torch.from_numpy(test.tokens[chosen].astype(np.int64))
        cross_entropy(network.logits(hidden[-1]), said, reduction="sum").backward()
        norms = profile.norms["forward.0"]
        assert arrived == pytest.approx(float(norms[0] / norms[-1]), rel=1e-4)
