"""runs/<arm>: one arm of the grid, trained."""

from pathlib import Path

import click
import numpy as np

from unrolled.corpus.ids import END_ID
from unrolled.corpus.streams import read_split
from unrolled.errors import one_line_errors
from unrolled.lab.checkpoint import Checkpoint
from unrolled.lab.fit import Training, fit
from unrolled.lab.ledger import Ledger, corpus_digest
from unrolled.lab.progress import shown
from unrolled.settings import PARAMS, Settings

ENCODED = Path("data/encoded")


@click.command()
@click.argument("arm")
@one_line_errors
def train(arm: str) -> None:
    """Train ARM and write its run directory."""
    settings, digest = Settings.load(PARAMS, arm), corpus_digest(ENCODED)
    tokens, valid = read_split(ENCODED, "train"), read_split(ENCODED, "valid")
    training = Training.of(settings, len(np.load(ENCODED / "counts.npy")))
    ledger = Ledger(training)
    checkpoint = Checkpoint(Path("checkpoints", f"{arm}.safetensors"), training, ledger, settings, digest)
    checkpoint.resume()
    records = checkpoint.kept(fit(training, tokens, valid, eos=END_ID))
    for record in shown(records, arm, training.step, training.total_steps(tokens)):
        ledger.add(record)
    ledger.write(Path("runs", arm), settings, digest)
    ledger.write_timings(Path("timings", f"{arm}.json"), Path("runs", arm), checkpoint.seconds)
    checkpoint.remove()


if __name__ == "__main__":
    train()
