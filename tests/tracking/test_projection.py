"""What is read from the files, before MLflow sees any of it."""

import ast
import json
import math
import shutil
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from finished import TASK, grid, reseal
from mlflow.tracking import MlflowClient

from unrolled.ground.evaluation import Evaluation
from unrolled.ground.registry import task_part
from unrolled.ground.run import Run
from unrolled.report.series import single_values
from unrolled.shell.errors import UserError
from unrolled.tracking.projection import project
from unrolled.tracking.publish import publish


@pytest.fixture
def workspace(two_arms: Path, tmp_path: Path) -> Path:
    return shutil.copytree(two_arms, tmp_path / "workspace")


def change_score(workspace: Path, arm: str, name: str, **change: Any) -> None:
    def of_score(content: dict[str, Any]) -> None:
        content["scores"][name] |= change

    reseal(workspace, arm, of_score)


def test_an_exploded_score_is_said_in_words_and_published_as_no_number(workspace: Path) -> None:
    name = task_part(TASK, "scores").SCORES[0].name
    infinite = {"sum": math.inf, "value": math.inf, "interval": [math.inf, math.inf]}
    change_score(workspace, "lstm-clipped-1", name, **infinite)
    exploded, other = project(workspace, grid(workspace), {})
    note = exploded.tags["mlflow.note.content"]
    assert note.startswith("Test forward perplexity **above 1e6**, from the weights of epoch 4.") and "inf" not in note
    assert f"{name}/test = inf" in exploded.tags["not_finite"]
    assert not {f"{name}/test", f"{name}/test_low", f"{name}/mean"} & set(exploded.finals)
    assert {f"{name}/test", f"{name}/mean"} <= set(other.finals)


def test_a_mean_is_published_where_the_score_is_not_that_itself(workspace: Path) -> None:
    run, evaluation = (
        Run.read(workspace / "runs/lstm-clipped-1"),
        Evaluation.read(workspace / "evaluation/lstm-clipped-1"),
    )
    scores = task_part(TASK, "scores").SCORES
    assert "forward_perplexity/mean" in single_values(run, evaluation, scores)
    means = single_values(run, evaluation, [replace(score, summed="") for score in scores])
    assert "forward_perplexity/test" in means and not [name for name in means if name.endswith("/mean")]


def test_without_a_loader_no_model_is_logged_and_nobody_is_champion(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights are published among the files of the run then."""
    monkeypatch.setattr(task_part(TASK, "publishing"), "LOADER", None)
    assert [each.change for each in publish(grid(workspace), workspace)] == ["published"] * 2
    assert [each.change for each in publish(grid(workspace), workspace)] == ["unchanged"] * 2
    client = MlflowClient(f"sqlite:///{workspace}/mlflow.db")
    experiment = client.get_experiment_by_name("unrolled")
    assert experiment is not None
    assert client.search_logged_models([experiment.experiment_id]) == []
    assert client.search_registered_models() == []
    for run in client.search_runs([experiment.experiment_id]):
        assert run.outputs is None or not run.outputs.model_outputs
        assert "run/weights.safetensors" in [each.path for each in client.list_artifacts(run.info.run_id, "run")]


def test_only_what_reads_real_text_from_left_to_right_may_be_champion(workspace: Path) -> None:
    may = task_part(TASK, "publishing").may_be_champion
    assert may({"bidirectional": False}, {"source": None})
    assert not may({"bidirectional": True}, {"source": None})
    assert not may({"bidirectional": False}, {"source": {"tokens": 1000}})
    served = [each.served for each in project(workspace, grid(workspace), {})]
    assert all(each is not None for each in served) and any(each.may_be_champion for each in served if each)


def test_nobody_is_champion_in_silence_of_a_corpus_that_misleads(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = workspace / "data/corpus.json"
    said = {"few_types": "the vocabulary is of 4 types only"}
    report.write_text(json.dumps(json.loads(report.read_text()) | {"warnings": said}))
    list(publish(grid(workspace), workspace))
    assert "is champion of unrolled, but beware: the vocabulary is of 4 types only\n" in capsys.readouterr().err
    client = MlflowClient(f"sqlite:///{workspace}/mlflow.db")
    experiment = client.get_experiment_by_name("unrolled")
    assert experiment is not None
    tags = [run.data.tags.get("unrolled.warnings") for run in client.search_runs([experiment.experiment_id])]
    assert tags == 2 * ["the vocabulary is of 4 types only"]


def test_what_the_model_is_served_with_must_be_there(workspace: Path) -> None:
    (workspace / "data/encoded/tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"tokenizer\.json is missing.*dvc repro -f -s vocabulary"):
        project(workspace, grid(workspace), {})


def test_the_model_names_every_package_that_its_code_imports() -> None:
    publishing = task_part(TASK, "publishing")
    assert packages_of(publishing.LOADER) == {name.replace("-", "_") for name in publishing.PACKAGES}


def packages_of(module: str) -> set[str]:
    """Other people's packages that a module of ours imports, itself and by way of others."""
    waiting, files, found = [module], set(), set()
    while waiting:
        name = waiting.pop()
        if name.partition(".")[0] != "unrolled":
            found.add(name.partition(".")[0])
        elif (file := file_of(name)) and file not in files:
            files.add(file)
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    waiting += [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    waiting += [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found - set(sys.stdlib_module_names)


def file_of(module: str) -> Path | None:
    """None for what is no module: a name in one."""
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec and spec.origin else None
