"""pipelines/speech: its files say what is so, and its stages run on a user's own recordings: tones that are words."""

import json
import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from made_up_speech import FIRST, corpus_of, speech_of
from miniature import ROOT, run_pipeline
from unrolled.ground.evaluation import Evaluation
from unrolled.ground.resolved import read_resolved
from unrolled.report.arms import read_baselines, read_grid
from unrolled.report.comparison import compare
from unrolled.report.markdown import table
from unrolled.settings.loader import Params
from unrolled.settings.recipes import applied, use
from unrolled.shell.cli import main as cli
from unrolled.tasks.speech import report

FOLDER = ROOT / "pipelines" / "speech"
BASELINES = ("unheard", "random", "isolated")
RECIPES = sorted(path.stem for path in (FOLDER / "recipes").glob("*.yaml"))


@cache
def alone_of(name: str) -> Params:
    """A recipe on what stands in the repository."""
    return applied(name, FOLDER / "params.yaml", FOLDER / "recipes")[1]


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_state_arms_that_differ(name: str) -> None:
    arms = [(str(arm["network"]), str(arm["train"])) for arm in alone_of(name).arms.values()]
    assert len(set(arms)) == len(arms)


@pytest.mark.parametrize("before", RECIPES)
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_leaves_nothing_of_the_one_before(name: str, before: str, tmp_path: Path) -> None:
    params, alone = tmp_path / "params.yaml", alone_of(name)
    params.write_text((FOLDER / "params.yaml").read_text())
    use(before, params, FOLDER / "recipes")
    _, found = applied(name, params, FOLDER / "recipes")
    assert (found.sections, found.arms) == (alone.sections, alone.arms)


# ---- what the report says ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("test", "names", "told"),
    [
        ([0, 0], ["anna", "ben"], "voices of training, other recordings"),
        ([0, 1], ["anna", "ben"], "other recordings, some of other voices"),
        ([1, 1], ["anna", "ben"], "voices that no training utterance has"),
        ([0, 0], ["unnamed"], "other recordings"),
    ],
)
def test_the_report_says_whether_training_has_heard_those_who_speak(
    test: list[int], names: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = [speech_of([[FIRST], [FIRST]], 4) for _ in range(3)]
    splits[2].arrays["speakers"] = np.array(test)  # type: ignore[index]
    corpus = corpus_of(*splits, 6)
    corpus.names["speakers"] = names  # type: ignore[index]
    monkeypatch.setattr(report, "read_corpus", lambda _: corpus)
    assert report._test_voices() == told


def test_a_reach_that_is_longer_than_the_sound_is_told() -> None:
    assert [report._milliseconds(value) for value in (1234.0, math.inf, math.nan)] == ["1,234 ms", "more", "undefined"]


def test_a_bar_in_a_name_does_not_end_a_cell() -> None:
    assert table(["arm", "x|y"], [["a", "1"]])[0] == r"| arm | x\|y |"


# ---- a user's own recordings -----------------------------------------------------------------------------------------

RATE = 8000
TONES = {"la": 500, "mi": 1100, "so": 2300}
TINY: dict[str, dict[str, Any]] = {
    "corpus": {
        "name": "words", "path": "tones", "unseen": [], "strings": {"train": 160, "valid": 16, "test": 30},
        "lengths": [1, 3], "longer": [5, 6], "branching": 3,
    },
    "vocabulary": {"mels": 12},
    "network": {
        "hidden": 24, "attention": 16, "filters": 4, "filter_width": 9, "decoder_embedding": 8, "decoder_hidden": 24,
        "dropout": 0.0,
    },
    "train": {
        "epochs": 20, "anneal_after": 12, "utterances": 8, "learning_rate": 0.01, "tempo": 0.0, "vocal_tract": 0.0,
        "noise": 0.0,
    },
    "evaluate": {"shown_utterances": 2, "unheard_epochs": 3, "bootstrap_samples": 20},
    "probe": {"lyapunov_steps": 20, "lyapunov_exponents": 4},
}  # fmt: skip


def tone(hertz: float, seconds: float) -> np.ndarray[Any, Any]:
    """It rises by a half, so that two of the same without a pause between are two."""
    times = np.arange(int(RATE * seconds)) / RATE
    return (3000 * np.sin(2 * np.pi * hertz * (times + times**2 / (4 * seconds)))).astype(np.int16)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stages run, but for record, an arm alone."""
    place = tmp_path_factory.mktemp("speech")
    (place / "tones").mkdir()
    for word, hertz in TONES.items():
        for number in range(6):
            soundfile.write(place / "tones" / f"{word}_anna_{number}.wav", tone(hertz, 0.2 + number / 40), RATE)
    run_pipeline(place, "speech", TINY, "lstm", BASELINES)
    return place


def test_tones_are_written_down_without_error(whole: Path) -> None:
    evaluation = Evaluation.read(whole / "evaluation" / "lstm-clipped-1")
    measures = evaluation.measures
    assert evaluation.values["word_error_rate"] == 0
    assert 1 < measures["perplexity"] < measures["text_floor"] < measures["perplexity_with_other_audio"]
    assert 0 < measures["bits_heard"] < measures["bits_there"]
    metrics = json.loads((whole / "metrics.json").read_text())
    assert set(metrics) == {"lstm-clipped", *BASELINES}
    assert metrics["isolated"]["word_error_rate"] == 0 < metrics["unheard"]["word_error_rate"]


def test_a_baseline_that_has_no_score_is_left_out(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(whole)
    grid, evaluate = read_resolved("grid"), read_resolved("evaluate")["evaluate"]
    arms, baselines = read_grid(grid["arms"])[0], read_baselines("speech")
    baselines["isolated"] = replace(baselines["isolated"], values={"word_error_rate": math.nan})
    found = compare(grid, evaluate, arms[0].run.settings["corpus_digest"], arms, baselines)
    assert list(found.baselines) == ["unheard", "random"]
    assert {pair["minus"] for pair in found.pairs} == {"unheard", "random"}
    assert "NaN" not in (whole / "metrics.json").read_text()


def test_the_page_shows_plays_and_draws(whole: Path) -> None:
    page = (whole / "report" / "index.html").read_text(encoding="utf-8")
    for said in ("What the audio tells", "Voices, lengths, and who writes", "To listen to", "data:audio/flac;base64,"):
        assert said in page, said
    assert page.count("<audio") == 2
    for name in ("positions", "attention"):
        assert (whole / "report" / "figures" / f"{name}.svg").is_file()
        assert (whole / "report" / "plots" / f"{name}.csv").is_file()


def test_a_recording_of_another_kind_is_transcribed(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence = np.random.default_rng(1).normal(0, 6, RATE // 8).astype(np.int16)
    parts = (silence, tone(1100, 0.25), silence, tone(500, 0.3), silence)
    soundfile.write(tmp_path / "sung.flac", np.concatenate(parts), RATE)
    monkeypatch.chdir(whole)
    result = CliRunner().invoke(cli, ["transcribe", str(tmp_path / "sung.flac")])
    assert result.exit_code == 0 and "mi la" in result.stdout, result.output
