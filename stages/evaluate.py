"""evaluation/<arm>: the test split scored by one trained arm."""

from pathlib import Path

import click

from unrolled.errors import one_line_errors
from unrolled.lab.evaluate import evaluate, read_text
from unrolled.lab.runs import Evaluation, Run
from unrolled.settings import PARAMS, Settings


@click.command()
@click.argument("arm")
@one_line_errors
def main(arm: str) -> None:
    """Score the test split with ARM's best weights."""
    settings = Settings.load(PARAMS, arm)
    text = read_text(Path("data/encoded"), Path("data/corpus.json"))
    peer = Evaluation.read(Path("evaluation/kneser_ney"))
    network = Run.read(Path("runs") / arm).network()
    evaluate(Path("evaluation") / arm, arm, network, text, settings.evaluate, (peer.valid_nats, peer.nats["forward"]))


if __name__ == "__main__":
    main()
