"""evaluation/<arm>: the test split scored by one trained arm."""

import json
from pathlib import Path

import click
import numpy as np

from unrolled.corpus.ids import END_ID
from unrolled.corpus.streams import read_split
from unrolled.errors import one_line_errors
from unrolled.lab.evaluate import evaluate
from unrolled.lab.runs import Run
from unrolled.settings import PARAMS, Settings

ENCODED = Path("data/encoded")


@click.command()
@click.argument("arm")
@one_line_errors
def main(arm: str) -> None:
    """Score the test split with ARM's best weights."""
    settings = Settings.load(PARAMS, arm)
    report = json.loads(Path("data/corpus.json").read_text(encoding="utf-8"))
    evaluate(
        Path("evaluation") / arm,
        arm,
        Run.read(Path("runs") / arm).network(),
        read_split(ENCODED, "test"),
        np.load(ENCODED / "counts.npy"),
        settings.evaluate,
        eos=END_ID,
        characters=report["test"]["characters"],
    )


if __name__ == "__main__":
    main()
