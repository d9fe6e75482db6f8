"""A trained arm of runs/ as a person talks to it: recordings in, the words that are said out."""

from pathlib import Path

import numpy as np

from unrolled.ground.checksums import json_of, load
from unrolled.ground.corpus import MANIFEST, read_report
from unrolled.ground.resolved import RESOLVED
from unrolled.ground.run import Run
from unrolled.ground.trained import ENCODED, read_trained
from unrolled.shell.errors import UserError
from unrolled.tasks.speech.audio.serving import Transcriber, decoding
from unrolled.tasks.speech.audio.silence import longest_silence
from unrolled.tasks.speech.model.network import Network

TASK = "speech"


def read_transcriber(arm: str | None = None, workspace: Path = Path()) -> tuple[str, Transcriber]:
    """An arm of runs/ and its name; without a name the one that wrote the fewest validation words wrong.

    It writes as resolved/evaluate.json says. UserError where it is not trained or damaged, hears nothing, or was
    trained on another corpus than data/encoded now holds.
    """
    run, corpus = read_trained(arm, TASK, _loss, workspace, that=" that listens")
    if not _listens(run):
        raise UserError(f"{run.arm} hears nothing (network.conditioning: none); name an arm that listens")
    network, names = run.model(), corpus.names
    assert isinstance(network, Network)
    unit, rate, spread = names["unit"][0], int(names["rate"][0]), np.asarray(corpus.arrays["spread"])
    trained_on = load(workspace / ENCODED, MANIFEST, json_of)["settings"]["corpus"]["name"]
    how = decoding(workspace / RESOLVED) | {"silence": longest_silence(trained_on)}
    return run.arm, Transcriber(network, names["words"], unit, rate, spread, **how)


def longest_trained(workspace: Path = Path()) -> float | None:
    """The seconds of the longest sound of training; None where the corpus report is missing, or another corpus's."""
    try:
        return float(read_report(workspace / ENCODED.parent)["train"]["longest_seconds"])
    except UserError:
        return None


def _listens(run: Run) -> bool:
    return bool(run.settings["network"]["conditioning"] != "none")


def _loss(run: Run) -> tuple[float, float] | None:
    """Wrong validation words; of as many, the loss."""
    valid = run.valid()
    return (valid["word_error_rate"].sum, valid["loss"].sum) if valid and _listens(run) else None
