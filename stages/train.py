"""runs/<arm>: one arm of the grid, trained."""

import time
from pathlib import Path

import click
import numpy as np
import torch

from unrolled.corpus.ids import END_ID
from unrolled.corpus.streams import read_split
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
    tokens, valid = read_split(ENCODED, "train"), read_split(ENCODED, "valid")
    generator = torch.Generator().manual_seed(settings.train.seed)
    network = Network(len(np.load(ENCODED / "counts.npy")), **settings.network.model_dump(), generator=generator)
    ledger, started = Ledger(network), time.monotonic()
    records = fit(network, tokens, valid, settings.train, eos=END_ID, generator=generator)
    for record in shown(records, arm, steps_an_epoch(tokens, settings.train) * settings.train.epochs):
        ledger.add(record)
    ledger.write(Path("runs", arm), settings, corpus_digest(ENCODED))
    ledger.write_timings(Path("timings", f"{arm}.json"), Path("runs", arm), time.monotonic() - started)


if __name__ == "__main__":
    train()
