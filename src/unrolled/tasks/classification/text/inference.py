"""A trained arm of runs/ as a person talks to it: texts in, probabilities of every label out."""

from pathlib import Path

from unrolled.corpus.vocabulary import load_tokenizer
from unrolled.ground.corpus import read_corpus
from unrolled.ground.run import Run
from unrolled.shell.errors import UserError
from unrolled.tasks.classification.model.network import Network
from unrolled.tasks.classification.text.serving import Classifier

ENCODED = Path("data/encoded")
TASK = "classification"


def read_classifier(arm: str | None = None, workspace: Path = Path()) -> tuple[str, Classifier]:
    """An arm of runs/ and its name; without a name the one with the fewest wrong validation texts.

    UserError where it is not trained or damaged, is no classifier, or was trained on another corpus than data/encoded
    now holds.
    """
    name = arm or _best(workspace / "runs")
    if not (workspace / "runs" / name).is_dir():
        raise UserError(f"runs/{name} does not exist; train it with: dvc repro train@{name}")
    run = Run.read(workspace / "runs" / name)
    _check_task(run)
    corpus = read_corpus(workspace / ENCODED)
    run.check(corpus.digest)
    network = run.model()
    assert isinstance(network, Network)
    return name, Classifier(network, load_tokenizer(workspace / ENCODED / "tokenizer.json"), corpus.names["labels"])


def _best(runs: Path) -> str:
    losses = {}
    for directory in sorted(runs.glob("[!.]*")) if runs.is_dir() else []:
        run = Run.read(directory) if (directory / "summary.json").is_file() else None
        valid = run.valid() if run else {}
        if run and valid:
            _check_task(run)
            losses[directory.name] = valid["error"].sum, valid["cross_entropy"].sum
    if not losses:
        raise UserError("runs/ holds no trained arm; train them with: dvc repro, in pipelines/classification")
    return min(losses, key=lambda name: losses[name])


def _check_task(run: Run) -> None:
    if run.settings["task"] != TASK:
        raise UserError(f"{run.directory} is of the task {run.settings['task']}; go to pipelines/classification")
