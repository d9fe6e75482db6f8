"""The tagging pipeline stage by stage, on a small text of the user's own, up to the page and MLflow."""

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient
from ruamel.yaml import YAML

from miniature import ROOT, compare_drawing_svg_alone, environment, run_stage
from tagging_corpora import drawn
from unrolled.settings.loader import load_params
from unrolled.shell.errors import UserError

WORDS = ("da", "be", "co", "du", "ef")
PARAMS = YAML(typ="safe", pure=True).load((ROOT / "pipelines/tagging/params.yaml").read_text(encoding="utf-8"))
SMALL: dict[str, dict[str, Any]] = {
    "corpus": {"name": "columns", "tags": "second", "path": "own.txt", "valid_share": 0.2, "test_share": 0.2},
    "network": {"embedding": 8, "hidden": 8, "letter_embedding": 4, "letter_hidden": 3, "word_dropout": 0.1},
    "train": {"epochs": 6, "sentences": 8, "learning_rate": 0.02},
    "evaluate": {"bootstrap_samples": 20, "crf_iterations": 10},
    "probe": {"lyapunov_steps": 20, "lyapunov_exponents": 4},
}
CONFIGURATIONS = ("lstm-clipped", "bilstm-clipped")
ARMS = tuple(f"{name}-1" for name in CONFIGURATIONS)


def small(**changes: Any) -> dict[str, Any]:
    params = copy.deepcopy(PARAMS)
    for section, keys in (SMALL | changes).items():
        params[section] |= keys
    params["arch"], params["clipping"] = (
        {name: params["arch"][name] for name in ("lstm", "bilstm")},
        {"clipped": {"clip_norm": 1.0}},
    )
    return params


def write(place: Path, params: dict[str, Any]) -> Path:
    path = place / "params.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(params, file)
    return path


def run(place: Path, path: str, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A stage in a process of its own, which ``path`` starts warm."""
    command = ["python", ROOT / "stages" / f"{name}.py", *words]
    return subprocess.run(command, cwd=place, env=environment(PATH=path), capture_output=True, text=True)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, warm: str) -> Path:
    place = tmp_path_factory.mktemp("tagging")

    def beside(words: Any, number: int) -> str:
        return f"T{WORDS.index(words[number + 1]) % 2}" if number + 1 < len(words) else "LAST"

    sentences = drawn(200, WORDS, beside, seed=1)
    text = "\n".join("".join(f"{word} {tag}\n" for word, tag in zip(*each, strict=True)) for each in sentences)
    (place / "own.txt").write_text(text)
    write(place, small())
    of_arms = [(stage, arm) for arm in ARMS for stage in ("train", "evaluate", "probe")]
    baselines = [("baseline", name) for name in ("most_frequent", "tnt", "perceptron", "crf")]
    before = [(name,) for name in ("resolve", "fetch", "preprocess", "vocabulary")]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for words in (*before, *baselines, *of_arms):
            run_stage(*words)
        compare_drawing_svg_alone()
    ended = run(place, warm, "record")  # MLflow keeps what it was told of a store for as long as its process lives
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return place


def test_every_arm_and_baseline_stands_in_the_comparison(done: Path) -> None:
    metrics = json.loads((done / "metrics.json").read_text())
    assert set(metrics) == {*CONFIGURATIONS, "most_frequent", "tnt", "perceptron", "crf"}
    assert metrics["bilstm-clipped"]["accuracy"] > metrics["lstm-clipped"]["accuracy"] + 10  # the next word decides
    assert {"known_accuracy", "sentence_accuracy", "macro_f1", "unknown_share"} <= set(metrics["lstm-clipped"])
    assert {"known_accuracy", "macro_f1"} <= set(metrics["tnt"])


def test_the_page_teaches_with_the_numbers_of_the_run(done: Path) -> None:
    page, said = (done / "report/index.html").read_text(), (done / "report/comparison.md").read_text()
    for text in (page, said):
        assert "Reading the right side too is worth +" in text and "words to the right" in text
        assert "Tags that are confused" in text and "Of 2 clipped trainings" in text
    assert {"right", "calibration", "confusion", "targets"} <= {
        path.stem for path in (done / "report/figures").glob("*.svg")
    }
    assert (done / "report/plots/right.csv").read_text().startswith("arm,right,accuracy\nlstm-clipped-1,0,")


def test_it_is_published_with_a_champion(done: Path) -> None:
    client = MlflowClient(f"sqlite:///{done / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'unrolled-tagging'")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == set(ARMS) and "Tagged right: known words" in runs[ARMS[0]].data.tags["mlflow.note.content"]
    champion = client.get_model_version_by_alias("unrolled-tagging", "champion")
    assert champion.run_id == runs["bilstm-clipped-1"].info.run_id


def test_a_user_is_told_in_one_line_what_is_wrong_with_a_file(warm: str, tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("da T0\nbe\n")
    write(tmp_path, small())
    run(tmp_path, warm, "resolve")
    ended = run(tmp_path, warm, "preprocess")
    assert (
        ended.returncode == 1
        and ended.stderr == "error: own.txt:2: 1 column(s), not 2; a tag stands behind each word\n"
    )
    assert not (tmp_path / "data/text").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corpus": {"name": "sequoia", "tags": "xpos"}}, "'corpus.tags'.*of the corpus sequoia must be upos"),
        ({"corpus": {"name": "lines", "tags": "upos", "given": "upos"}}, "'corpus.given'.*must be xpos or null"),
        ({"corpus": {"name": "brown", "tags": "full", "given": "pos"}}, "'corpus.given'.*must be null"),
        ({"corpus": {"path": "a/*.conllu"}}, "'corpus.path'.*which DVC can watch"),
        ({"corpus": {"valid_share": 0.6, "test_share": 0.5}}, "must leave something to train on"),
        ({"network": {"word_dropout": -1.0}}, "'network.word_dropout'"),
        ({"train": {"sentences": 0}}, "'train.sentences'"),
        ({"corpus": {"names": "x"}}, "unknown key 'corpus.names'; did you mean 'name'"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_params(write(tmp_path, small(**changes)))
