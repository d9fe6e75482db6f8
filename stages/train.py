"""runs/<arm>: one arm of the grid, trained."""

from pathlib import Path

import click

from unrolled.ground.corpus import read_corpus
from unrolled.ground.resolved import arm_named, read_arm
from unrolled.shell.device import describe, find_device
from unrolled.shell.memory import prepare_memory
from unrolled.shell.progress import shown
from unrolled.shell.stage import stage
from unrolled.training.checkpoint import Checkpoint
from unrolled.training.fit import fit
from unrolled.training.history import History
from unrolled.training.run_directory import write_run, write_timings
from unrolled.training.together import follow, shared_out
from unrolled.training.training import Training, task_of


@click.command()
@click.argument("arm")
@click.option("--device", envvar="UNROLLED_DEVICE", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ...")
@stage
def main(arm: str, device: str) -> None:
    """Train ARM and write its run directory."""
    settings, corpus, found = read_arm(arm := arm_named(arm)), read_corpus(Path("data/encoded")), find_device(device)
    prepare_memory(settings, sizes := task_of(settings).sizes(corpus), found)
    history = History(training := Training.of(settings, sizes, found))
    follow(training, history, settings, corpus)  # to the end of this process, where it is not the first of several
    checkpoint = Checkpoint.resumed(training, history, settings, corpus.digest, Path("data/encoded"))
    with shared_out(training, history, settings, corpus):
        history.add_all(shown(checkpoint.kept(fit(training, corpus.train, corpus.valid)), training, corpus, settings))
    write_run(Path("runs", arm), training, history, settings, sizes, corpus.digest)
    write_timings(arm, training, history, checkpoint.seconds, describe(found))
    checkpoint.remove()


if __name__ == "__main__":
    main()
