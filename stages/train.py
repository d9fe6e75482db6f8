"""runs/<arm>: one arm of the grid, trained."""

import os
import time
from pathlib import Path

import click
import numpy as np
import torch

from unrolled.corpus.streams import read_split
from unrolled.corpus.vocabulary import END_ID
from unrolled.errors import one_line_errors
from unrolled.lab.fit import fit, steps_an_epoch
from unrolled.lab.ledger import Ledger, corpus_digest
from unrolled.lab.progress import shown
from unrolled.nets.network import Network
from unrolled.settings import PARAMS, Settings

ENCODED = Path("data/encoded")


@click.command()
@click.argument("arm")
@one_line_errors
def train(arm: str) -> None:
    """Train ARM and write its run directory."""
    settings = Settings.load(PARAMS, arm)
    torch.set_num_threads(int(os.environ.get("UNROLLED_THREADS", torch.get_num_threads())))
    tokens, valid = read_split(ENCODED, "train"), read_split(ENCODED, "valid")
    generator = torch.Generator().manual_seed(settings.train.seed)
    vocabulary = len(np.load(ENCODED / "counts.npy"))
    network = Network(vocabulary, **settings.network.model_dump(), generator=generator)
    ledger, started = Ledger(network), time.monotonic()
    steps = steps_an_epoch(tokens, settings.train) * settings.train.epochs
    records = fit(network, tokens, valid, settings.train, eos=END_ID, generator=generator)
    for record in shown(records, arm, steps):
        ledger.add(record)
    run = Path("runs") / arm
    ledger.write(run, settings, corpus_digest(ENCODED))
    ledger.write_timings(Path("timings") / f"{arm}.json", run, time.monotonic() - started)


if __name__ == "__main__":
    train()
