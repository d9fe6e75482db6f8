"""What goes in comes out: a published run beside the files it was made of."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from finished import SPIKE_AT, STEPS, TASK, digest_of
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from unrolled.corpus.vocabulary import build_tokenizer, encode_line, load_tokenizer
from unrolled.ground.checksums import sha256
from unrolled.ground.perplexity import perplexity
from unrolled.ground.resolved import read_resolved
from unrolled.ground.run import Run as RunDirectory
from unrolled.ground.special_tokens import END_ID
from unrolled.settings.stated import stated, stated_vocabulary
from unrolled.tasks.language_model.model.predictions import SCORE_OF_HEAD, total_nats
from unrolled.tasks.language_model.text.serving import Scorer
from unrolled.tracking import saved_view

RunOf = Callable[[str], Run]


def curve(client: MlflowClient, run: Run, name: str) -> dict[int, float]:
    return {point.step: point.value for point in client.get_metric_history(run.info.run_id, name)}


def test_runs_are_flat_and_in_the_grids_order(runs: Callable[[], list[Run]]) -> None:
    assert {run.info.run_name for run in runs()} == {
        f"{a}-{c}-1" for a in ("lstm", "bilstm") for c in ("clipped", "unclipped")
    }
    assert all(run.info.status == "FINISHED" and "mlflow.parentRunId" not in run.data.tags for run in runs())


def test_parameters_are_spelled_as_in_the_yaml(root: Path, run_of: RunOf) -> None:
    params = run_of("lstm-clipped-1").data.params
    assert (params["network.hidden"], params["train.clip_norm"], params["arch"]) == ("4", "0.25", "lstm")
    assert run_of("lstm-unclipped-1").data.params["train.clip_norm"] == "none"
    sections: dict[str, Any] = {}
    for name in ("preprocess", "vocabulary", "evaluate", "probe", "arms/lstm-clipped-1"):
        sections |= read_resolved(name, root / "resolved")
    sections["corpus"] = stated(read_resolved("preprocess", root / "resolved")["corpus"])
    sections["vocabulary"] = stated_vocabulary(sections["vocabulary"])
    dotted = {f"{name}.{key}" for name, keys in sections.items() if isinstance(keys, dict) for key in keys}
    assert set(params) == dotted | {"arch", "clipping"}


def test_final_values_are_those_of_the_files(root: Path, run_of: RunOf) -> None:
    metrics = run_of("bilstm-clipped-1").data.metrics
    scores = json.loads((root / "evaluation/bilstm-clipped-1/scores.json").read_text(encoding="utf-8"))
    for name in ("forward_perplexity", "backward_perplexity", "pseudo_perplexity", "reset_perplexity"):
        score = scores["scores"][name]
        interval = [metrics[f"{name}/test_{end}"] for end in ("low", "high")]
        assert (metrics[f"{name}/test"], interval) == (score["value"], score["interval"])
        assert metrics[f"{name}/mean"] == score["sum"] / score["terms"]
    for name in ("top5_accuracy", "vocabulary_size", "unknown_share", "spelled_bits_per_character"):
        assert metrics[f"{name}/test"] == scores["measures"][name]
    assert metrics["forward_perplexity/best_valid"] == pytest.approx(60)
    assert metrics["addends/alignment"] == pytest.approx(0.5)
    assert (metrics["grad_norm/max"], metrics["grad_norm/clipped_share"], metrics["diverged"]) == (1000, 1, 0)
    assert metrics["time/tokens_per_second"] == STEPS * 32 / 12.5
    assert "pseudo_perplexity/test" not in run_of("lstm-clipped-1").data.metrics


def test_an_explosion_of_one_step_is_in_the_chart(client: MlflowClient, run_of: RunOf) -> None:
    run = run_of("lstm-clipped-1")
    largest = curve(client, run, "grad_norm/window_max")
    assert len(largest) <= 320 and max(largest.values()) == 1000
    assert SPIKE_AT <= max(largest, key=largest.__getitem__) < SPIKE_AT + 16
    assert set(curve(client, run, "grad_norm_after/window_max").values()) == {0.25}
    assert curve(client, run, "forward_perplexity/valid") == pytest.approx({1250: 90, 2500: 80, 3750: 70, 5000: 60})
    assert list(curve(client, run, "lag_profile/forward.0").values()) == pytest.approx(np.logspace(0, -3, 5))
    assert list(curve(client, run, "addends/forward.0").values()) == pytest.approx([0.2] * 5)


def test_a_diverged_run_says_so_and_holds_nothing_that_is_not_finite(root: Path, run_of: RunOf) -> None:
    run = run_of("lstm-unclipped-1")
    assert (run.data.metrics["diverged"], run.data.tags["diverged"]) == (1, f"at step {STEPS}")
    assert f"Diverged at step {STEPS}" in run.data.tags["mlflow.note.content"]
    assert run.data.tags["device"] == "cpu"
    connection = sqlite3.connect(root / "mlflow.db")
    [[largest, nans]] = connection.execute("SELECT max(abs(value)), sum(is_nan) FROM metrics").fetchall()
    connection.close()
    assert largest < 1e6 and nans == 0


def test_the_corpus_is_the_dataset(root: Path, run_of: RunOf) -> None:
    run = run_of("lstm-clipped-1")
    assert run.inputs is not None
    [dataset] = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("python-docs", digest_of(root)[:8])
    assert json.loads(str(dataset.dataset.profile))["types"] == 9


def test_artifacts_are_the_files(root: Path, client: MlflowClient, run_of: RunOf, tmp_path: Path) -> None:
    run_id = run_of("lstm-clipped-1").info.run_id
    for source, artifact in (
        ("runs/lstm-clipped-1/steps.parquet", "run/steps.parquet"),
        ("evaluation/lstm-clipped-1/scores.json", "evaluation/scores.json"),
        ("report/figures/norm.svg", "report/figures/norm.svg"),
        ("data/corpus.json", "report/corpus.json"),
    ):
        copy = Path(client.download_artifacts(run_id, artifact, str(tmp_path)))
        assert copy.read_bytes() == (root / source).read_bytes()


def test_every_chart_of_the_saved_view_has_something_to_draw(root: Path, client: MlflowClient, run_of: RunOf) -> None:
    run = run_of("bilstm-clipped-1")
    for charts in saved_view.sections(TASK).values():
        for chart in charts:
            steps = curve(client, run, chart.metric)
            assert len(steps) > 1 if chart.scale else list(steps) == [0], chart.metric


def test_the_model_scores_text_without_a_pickle(
    root: Path, client: MlflowClient, run_of: RunOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of("bilstm-clipped-1")
    assert run.outputs is not None
    folder = client.get_logged_model(run.outputs.model_outputs[0].model_id).artifact_location
    files = [path.name for path in Path(folder.removeprefix("file://")).rglob("*")]
    assert "weights.safetensors" in files and not [name for name in files if name.endswith(".pkl")]
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.setattr(sys, "path", list(sys.path))  # loading puts the model's code there
    model = mlflow.pyfunc.load_model(folder)
    scores = model.predict(pd.DataFrame({"text": ["the cat sat", "the dog\r\rsat on\u2028a log"]}))
    assert scores.columns.tolist() == model.metadata.get_output_schema().input_names()
    tokenizer = load_tokenizer(root / "data/encoded/tokenizer.json")
    ids = np.array([*encode_line(tokenizer, "the dog"), *encode_line(tokenizer, "sat on a log")], dtype=np.uint16)
    network = RunDirectory.read(root / "runs/bilstm-clipped-1").model()
    sums = total_nats(network, ids, window=3)
    assert scores["tokens"].tolist() == [4, 8]
    for head, each in sums.items():
        assert scores[SCORE_OF_HEAD[head]][1] == pytest.approx(perplexity(*each), rel=1e-5)
    assert all(len(words) == len(set(words)) == tokenizer.get_vocab_size() for words in scores["next_words"])
    read = torch.tensor([END_ID, *encode_line(tokenizer, "the cat sat", end=False)])[:, None]
    outputs, _ = network.read("forward", read, network.initial_state(1).forward)
    expected = network.logits(outputs[-1, 0]).softmax(-1)
    found = dict(zip(scores["next_words"][0], scores["next_probabilities"][0], strict=True))
    assert found == pytest.approx({tokenizer.id_to_token(index): p for index, p in enumerate(expected.tolist())})
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_the_model_works_where_only_its_requirements_are_installed(client: MlflowClient, run_of: RunOf) -> None:
    run = run_of("lstm-clipped-1")
    assert run.outputs is not None
    place = client.get_logged_model(run.outputs.model_outputs[0].model_id).artifact_location
    folder = place.removeprefix("file://")
    assert "+" not in (Path(folder) / "requirements.txt").read_text(encoding="utf-8")  # no index has torch 2.13.0+cpu
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    script = Path(__file__).with_name("fresh_environment.py")
    done = subprocess.run([sys.executable, script, folder], env=environ, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, [f"{folder}/code", "4"]), done.stderr
    assert "mismatch" not in done.stderr


def test_a_model_beside_another_corpus_is_not_served(root: Path, tmp_path: Path) -> None:
    """Another tokenizer alone, or with its whole manifest: ids would mean other words."""
    encoded = root / "data/encoded"
    for file in (root / "runs/lstm-clipped-1/settings.json", root / "runs/lstm-clipped-1/weights.safetensors"):
        shutil.copy(file, tmp_path)
    for file in ("tokenizer.json", "manifest.json"):
        shutil.copy(encoded / file, tmp_path)
    assert Scorer(tmp_path).predict(["the cat sat"])["tokens"].tolist() == [4]
    build_tokenizer(["the log sat on a cat"], unit="word").save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match="is not that of the corpus"):
        Scorer(tmp_path)
    manifest = {"files": {"tokenizer.json": sha256(tmp_path / "tokenizer.json")}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(ValueError, match="is not that of the corpus"):
        Scorer(tmp_path)


def test_the_best_arm_that_reads_from_left_to_right_is_champion(
    root: Path, client: MlflowClient, run_of: RunOf, publish: Callable[[], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The BiLSTMs reach the same 60; the LSTM that diverged reached 70. Publishing once more changes nothing."""
    champion = client.get_model_version_by_alias("unrolled", "champion")
    assert champion.run_id == run_of("lstm-clipped-1").info.run_id
    versions = [version.version for version in client.search_model_versions("name = 'unrolled'")]
    publish()
    assert [version.version for version in client.search_model_versions("name = 'unrolled'")] == versions
    text = pd.DataFrame({"text": ["the cat sat"]})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
    monkeypatch.setattr(sys, "path", list(sys.path))  # loading puts the model's code there
    assert mlflow.pyfunc.load_model("models:/unrolled@champion").predict(text)["tokens"].tolist() == [4]
