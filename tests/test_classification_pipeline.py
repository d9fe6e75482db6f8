"""pipelines/classification: its files say what is so, and its stages run on a user's own texts, by letters."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from ruamel.yaml import YAML

from miniature import ROOT, compare_drawing_svg_alone, run_pipeline, run_stage
from unrolled.ground.evaluation import Evaluation
from unrolled.settings.recipes import applied
from unrolled.shell.cli import main as cli
from unrolled.tasks.classification.text.serving import Classifier

FOLDER = ROOT / "pipelines" / "classification"
BASELINES = ("naive_bayes", "logistic_regression", "nb_svm")


# ---- what stands in the folder ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["distance", "read-outs"])
def test_recipes_state_arms_that_differ_by_what_they_are_about(name: str) -> None:
    _, params = applied(name, FOLDER / "params.yaml", FOLDER / "recipes")
    networks = [arm["network"] for arm in params.arms.values()]
    varied = {key for key in networks[0] if len({str(network[key]) for network in networks}) > 1}
    assert varied == {"distance": {"cell", "read_out", "neutral_words"}, "read-outs": {"cell", "read_out"}}[name]
    assert len({str(network) for network in networks}) == len(networks)


# ---- a user's own texts ----------------------------------------------------------------------------------------------

TINY: dict[str, dict[str, Any]] = {
    "corpus": {"name": "own", "path": "names"},
    "vocabulary": {"unit": "character", "lowercase": False, "min_count": 1},
    "network": {"embedding": 8, "hidden": 8, "read_out": "last", "dropout": 0.0},
    "train": {"epochs": 3, "texts": 8, "learning_rate": 0.02},
    "evaluate": {"neutral_words": [0, 4], "shown_texts": 2, "bootstrap_samples": 20},
    "probe": {"contexts": [1, 2], "lyapunov_steps": 20, "lyapunov_exponents": 4},
}
ENDINGS = {"Greek": ("os", "is", "as"), "Slavic": ("ov", "ev", "in"), "Italian": ("i", "o", "a")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stages run, but for record, on names of three languages, an arm alone."""
    place = tmp_path_factory.mktemp("classification")
    random = np.random.default_rng(1)
    for language, endings in ENDINGS.items():
        names = ["".join(random.choice(list("bdklmnprst"), 4)) + str(random.choice(endings)) for _ in range(60)]
        (place / "names").mkdir(exist_ok=True)
        (place / "names" / f"{language}.txt").write_text("\n".join(map(str.title, names)), encoding="utf-8")
    run_pipeline(place, "classification", TINY, "rnn", BASELINES)
    return place


def test_a_names_language_is_learned_from_its_letters(whole: Path) -> None:
    evaluation = Evaluation.read(whole / "evaluation" / "rnn-clipped-1")
    assert evaluation.values["accuracy"] > 0.8
    assert evaluation.tables["labels"]["label"].tolist() == sorted(ENDINGS)
    metrics = json.loads((whole / "metrics.json").read_text())
    assert set(metrics) == {"rnn-clipped", *BASELINES, "most_frequent"}
    assert metrics["rnn-clipped"]["accuracy"] == evaluation.values["accuracy"] > metrics["most_frequent"]["accuracy"]


def test_the_page_shows_what_is_the_tasks_own(whole: Path) -> None:
    page = (whole / "report" / "index.html").read_text(encoding="utf-8")
    for title in (
        "Each label",
        "Short and long texts",
        "Vanishing: words that say nothing",
        "Least sure texts",
        "Reliability",
    ):
        assert title in page, title
    for name in ("neutral_words", "calibration", "lengths"):
        assert (whole / "report" / "figures" / f"{name}.svg").is_file()
        assert (whole / "report" / "plots" / f"{name}.csv").is_file()


def test_the_seeds_of_an_arm_are_told_of_together(whole: Path, tmp_path: Path) -> None:
    place = shutil.copytree(whole, tmp_path / "two")
    params = YAML(typ="safe", pure=True).load((place / "params.yaml").read_text("utf-8")) | {"seeds": [1, 2]}
    with (place / "params.yaml").open("w") as file:
        YAML(typ="safe", pure=True).dump(params, file)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        run_stage("resolve")
        for name in ("train", "evaluate", "probe"):
            run_stage(name, "rnn-clipped-2")
        compare_drawing_svg_alone()
    tables = [Evaluation.read(place / f"evaluation/rnn-clipped-{seed}").tables["probabilities"] for seed in (1, 2)]
    names = sorted(ENDINGS)
    mean = sum(table[[f"p({name})" for name in names]].to_numpy() for table in tables).argmax(1)
    reached = float(np.mean([names[label] == right for label, right in zip(mean, tables[0]["label"], strict=True)]))
    figures = json.loads((place / "metrics.json").read_text())["rnn-clipped"]
    assert figures["ensemble_accuracy"] == pytest.approx(reached) and figures["seeds"] == 2
    text = (place / "report/comparison.md").read_text()
    assert "## The seeds together" in text and "| rnn-clipped | 2 | " in text and f"| {reached:.1%} [" in text
    assert "The seeds together" not in (whole / "report/comparison.md").read_text()


def test_lines_are_classified_with_every_labels_probability(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(whole)
    result = CliRunner().invoke(cli, ["classify"], input=b"Kpelros\nTreskov\n")
    assert result.exit_code == 0, result.output
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [each["label"] for each in answers] == ["Greek", "Slavic"]
    for each in answers:
        assert list(each["probabilities"]) == sorted(ENDINGS)
        assert sum(each["probabilities"].values()) == pytest.approx(1, abs=2e-6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"Kpelros\n\n", "line 2 is empty"),
        (b"Kpelros\n\xff\n", "line 2 is not UTF-8"),
        (b"Kpelros\nKpel\0os\n", "line 2 is not text but binary"),
    ],
)
def test_a_line_that_cannot_be_classified_is_named(
    text: bytes, said: str, whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(whole)
    result = CliRunner().invoke(cli, ["classify", "--arm", "rnn-clipped"], input=text)
    assert result.exit_code == 1 and said in result.output + capsys.readouterr().err


def test_the_served_model_answers_as_the_arm_does(whole: Path, tmp_path: Path) -> None:
    for file in ("runs/rnn-clipped-1/weights.safetensors", "runs/rnn-clipped-1/settings.json"):
        (tmp_path / Path(file).name).write_bytes((whole / file).read_bytes())
    for file in ("tokenizer.json", "names.json"):
        (tmp_path / file).write_bytes((whole / "data" / "encoded" / file).read_bytes())
    classifier, used = Classifier.load(tmp_path), set()
    classifier.network.register_forward_pre_hook(lambda *_: used.add(torch.get_num_threads()))
    table = classifier.predict(["Kpelros", "Treskov"])
    assert used == {1}  # on a machine with other work, threads would wait for each other
    assert table["label"].tolist() == ["Greek", "Slavic"] and table["labels"].iloc[0] == sorted(ENDINGS)
    assert np.array(table["probabilities"].tolist()).sum(1) == pytest.approx([1, 1])
    mixed = classifier.predict(["Kpelros", " ", None, "Treskov"])
    assert mixed["label"].tolist() == ["Greek", None, None, "Slavic"]
    assert mixed["error"].tolist() == [None, "a text to label must hold at least one word", "null is no text", None]
    assert mixed["probabilities"].str.len().tolist() == [len(ENDINGS), 0, 0, len(ENDINGS)]
