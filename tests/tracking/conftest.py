"""A finished pipeline, written by its own writers, and the store that it is published to."""

import math
import shutil
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow.entities import Run as MlflowRun
from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient
from ruamel.yaml import YAML

from unrolled.bptt import Addends
from unrolled.clipping import Norms
from unrolled.corpus.ids import END_ID
from unrolled.corpus.vocabulary import build_tokenizer, encode_line
from unrolled.lab.evaluate import Text, evaluate
from unrolled.lab.fit import Epoch, Step, Training
from unrolled.lab.ledger import Ledger
from unrolled.lab.probe import probe
from unrolled.lab.runs import Evaluation, Run
from unrolled.nets.gates import Spectrum
from unrolled.nets.network import Network
from unrolled.settings import Settings
from unrolled.tasks.language_model import Sums
from unrolled.tracking import publishing

PARAMS = Path(__file__).parents[2] / "params.yaml"
TEXT = ["the cat sat on the mat", "the dog sat on the log"] * 20
STEPS, SPIKE_AT = 5000, 3210


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What MLflow does with SQLAlchemy and its own types is not ours to mend."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(
                pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*Any type hint:UserWarning")
            )


def grid(root: Path) -> list[Settings]:
    return [Settings.load(root / "params.yaml", arm) for arm in Settings.arms(root / "params.yaml")]


def lay_out(root: Path) -> None:
    """Two archs with their twins; every run has one step of norm 1000, and lstm-unclipped diverged at its last."""
    params = YAML(typ="safe").load(PARAMS.read_text(encoding="utf-8"))
    params["network"] |= {"embedding": 4, "hidden": 4}
    params["evaluate"] |= {"bootstrap_samples": 10}
    params["probe"] |= {"contexts": [1, 20], "positions": 50, "lyapunov_steps": 20}
    params["arch"] = {"lstm": {"cell": "lstm"}, "bilstm": {"cell": "lstm", "bidirectional": True}}
    YAML().dump(params, root / "params.yaml")
    (root / "data/encoded").mkdir(parents=True)
    tokenizer = build_tokenizer(TEXT, unit="word")
    tokenizer.save(str(root / "data/encoded/tokenizer.json"))
    (root / "data/corpus.json").write_text('{"types": 9}', encoding="utf-8")
    tokens = np.array([index for line in TEXT for index in encode_line(tokenizer, line)], dtype=np.uint16)
    counts = np.bincount(tokens, minlength=tokenizer.get_vocab_size())
    for settings in grid(root):
        arm = str(settings.arm)
        network = Network(len(counts), **settings.network.model_dump(), generator=torch.Generator().manual_seed(1))
        run, scores = root / "runs" / arm, root / "evaluation" / arm
        ledger = ledger_of(network, settings)
        ledger.write(run, settings, "ab12cd34" * 8)
        ledger.write_timings(root / "timings" / f"{arm}.json", run, 12.5)
        text = Text(tokens, tokens, tokens, counts, 1000, END_ID)
        evaluate(scores, arm, network, text, settings.evaluate, (np.full(len(tokens), 3.0), np.full(len(tokens), 3.0)))
        nats, norms = Evaluation.read(scores).nats["forward"], Run.read(run).history["norm_before"]
        replay = partial(Training.of, settings, len(counts))
        probe(root / "probes" / arm, network, tokens, nats, settings, END_ID, norms, replay, tokens)
    (root / "report/figures").mkdir(parents=True)
    (root / "report/comparison.md").write_text("| arm |\n", encoding="utf-8")
    (root / "report/figures/norm.svg").write_text("<svg/>", encoding="utf-8")


def ledger_of(network: Network, settings: Settings) -> Ledger:
    """Four epochs of 1250 steps; validation perplexity 90, 80, 70, 60."""
    diverges = settings.arm == "lstm-unclipped"
    heads = ("forward", "backward", "joined") if network.bidirectional else ("forward",)
    norms = {"forward.0": torch.logspace(0, -3, 5)}
    addends = {"forward.0": Addends(norms["forward.0"], torch.full((5,), 0.2), torch.tensor(1.0), torch.tensor(0.5))}
    spectra = {"forward.0": {"hidden": Spectrum(0.9, 1.2)}}
    ledger = Ledger(Training(network, settings.train, torch.Generator()))
    ledger.add(Epoch(0, 1.0, {head: Sums(math.log(100) * 50, 50) for head in heads}, {}, norms, addends, spectra))
    for step in range(1, STEPS + 1):
        epoch = (step - 1) * 4 // STEPS + 1
        last = diverges and step == STEPS
        norm = math.inf if last else 1000.0 if step == SPIKE_AT else 0.5 + step / STEPS
        applied = min(norm, settings.train.clip_norm or math.inf)
        loss = math.nan if last else 5 - step / STEPS
        ledger.add(Step(step, epoch, 32, loss, 1.0, Norms(norm, applied, {"head": norm})))
        if step % (STEPS // 4) == 0 and not last:
            valid = {head: Sums(math.log(100 - 10 * epoch) * 50, 50) for head in heads}
            ledger.add(Epoch(epoch, 1.0, valid, norms, norms, addends, spectra))
    return ledger


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished pipeline that is not published; to be copied, not written to."""
    root = tmp_path_factory.mktemp("template")
    lay_out(root)
    return root


@pytest.fixture(scope="session")
def shared(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all tests, for creating it takes seconds."""
    root = tmp_path_factory.mktemp("laboratory")
    shutil.copytree(template, root, dirs_exist_ok=True)
    return root


@pytest.fixture
def publish(shared: Path) -> Callable[[], dict[str, str]]:
    """Publishes once more; what that did to each arm."""
    return lambda: {each.arm: each.change for each in publishing.publish(grid(shared), shared)}


@pytest.fixture
def root(shared: Path, publish: Callable[[], dict[str, str]]) -> Path:
    """A pipeline of which everything is published, whatever the test before did."""
    publish()
    return shared


@pytest.fixture
def client(root: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{root}/mlflow.db")


@pytest.fixture
def runs(client: MlflowClient) -> Callable[[], list[MlflowRun]]:
    """The runs that are not deleted, as the saved view lists them: the newest first."""

    def search() -> list[MlflowRun]:
        experiment = client.get_experiment_by_name(publishing.EXPERIMENT)
        assert experiment is not None
        return list(
            client.search_runs(
                [experiment.experiment_id], run_view_type=ViewType.ACTIVE_ONLY, order_by=["attributes.start_time DESC"]
            )
        )

    return search


@pytest.fixture
def run_of(runs: Callable[[], list[MlflowRun]]) -> Callable[[str], MlflowRun]:
    def search(arm: str) -> MlflowRun:
        [run] = [run for run in runs() if run.info.run_name == arm]
        return run

    return search


@pytest.fixture
def everything(root: Path) -> Callable[[], tuple[list[str], list[tuple[str, int]]]]:
    """Every row of the database, every artifact with the time it was written."""

    def dump() -> tuple[list[str], list[tuple[str, int]]]:
        connection = sqlite3.connect(root / "mlflow.db")
        rows = list(connection.iterdump())
        connection.close()
        return rows, [(str(path), path.stat().st_mtime_ns) for path in sorted((root / "mlartifacts").rglob("*"))]

    return dump
