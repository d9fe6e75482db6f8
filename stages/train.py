"""runs/<arm>: one arm of the grid, trained."""

from pathlib import Path

import click

from unrolled.corpus.encoded import read_corpus
from unrolled.corpus.ids import END_ID
from unrolled.errors import one_line_errors
from unrolled.lab.checkpoint import Checkpoint
from unrolled.lab.device import find_device
from unrolled.lab.fit import Training, fit
from unrolled.lab.ledger import Ledger
from unrolled.lab.memory import keep_freed_memory
from unrolled.lab.progress import shown
from unrolled.settings import PARAMS, Settings


@click.command()
@click.argument("arm")
@click.option("--device", envvar="UNROLLED_DEVICE", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ...")
@one_line_errors
def train(arm: str, device: str) -> None:
    """Train ARM and write its run directory."""
    keep_freed_memory()
    settings, found, corpus = Settings.load(PARAMS, arm), find_device(device), read_corpus(Path("data/encoded"))
    training = Training.of(settings, len(corpus.counts), found)
    ledger = Ledger(training)
    checkpoint = Checkpoint(Path("checkpoints", f"{arm}.safetensors"), training, ledger, settings, corpus.digest)
    checkpoint.resume()
    records = checkpoint.kept(fit(training, corpus.train, corpus.valid, eos=END_ID))
    for record in shown(records, arm, training.step, training.total_steps(corpus.train)):
        ledger.add(record)
    ledger.write(Path("runs", arm), settings, corpus.digest)
    ledger.write_timings(Path("timings", f"{arm}.json"), Path("runs", arm), checkpoint.seconds)
    checkpoint.remove()


if __name__ == "__main__":
    train()
