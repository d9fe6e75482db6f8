"""probes/<arm>: what one trained arm remembers, how its gradients grow, and how it exploded."""

from pathlib import Path

import click

from unrolled.ground.corpus import read_corpus
from unrolled.ground.evaluation import Evaluation
from unrolled.ground.resolved import arm_named, read_resolved
from unrolled.ground.run import Run
from unrolled.probing.probe import probe
from unrolled.shell.stage import stage


@click.command()
@click.argument("arm")
@stage
def main(arm: str) -> None:
    """Probe ARM's best weights on the test split, and its training around the first explosion."""
    arm = arm_named(arm)
    run, evaluation = Run.of_arm(arm), Evaluation.read(Path("evaluation", arm))
    probe(Path("probes", arm), run, evaluation, read_corpus(Path("data/encoded")), read_resolved("probe"))


if __name__ == "__main__":
    main()
