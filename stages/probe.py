"""probes/<arm>: what one trained arm remembers, how its gradients grow, and how it exploded."""

from functools import partial
from pathlib import Path

import click

from unrolled.corpus.encoded import read_corpus
from unrolled.corpus.ids import END_ID
from unrolled.errors import one_line_errors
from unrolled.lab.fit import Training
from unrolled.lab.probe import probe
from unrolled.lab.runs import Evaluation, Run
from unrolled.settings import PARAMS, Settings


@click.command()
@click.argument("arm")
@one_line_errors
def main(arm: str) -> None:
    """Probe ARM's best weights on the test split, and its training around the first explosion."""
    settings = Settings.load(PARAMS, arm)
    run, evaluation = Run.read(Path("runs", arm)), Evaluation.read(Path("evaluation", arm))
    replay = partial(Training.of, settings, run.settings["vocabulary_size"])
    corpus = read_corpus(Path("data/encoded"))
    nats, norms = evaluation.nats["forward"], run.history["norm_before"]
    probe(Path("probes", arm), run.network(), corpus.test, nats, settings, END_ID, norms, replay, corpus.train)


if __name__ == "__main__":
    main()
