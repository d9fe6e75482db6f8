"""baselines/<name>: the test split scored by a model without recurrence, beside the arms."""

import time
from pathlib import Path

import click

from unrolled.ground.atomic import whole_text
from unrolled.ground.corpus import read_corpus
from unrolled.ground.registry import task_part
from unrolled.ground.resolved import read_resolved
from unrolled.scoring.evaluation import write_evaluation
from unrolled.shell.stage import stage


@click.command()
@click.argument("name")
@stage
def main(name: str) -> None:
    """Fit the baseline NAME to the training split and score the test split with it."""
    settings, corpus, started = read_resolved("evaluate"), read_corpus(Path("data/encoded")), time.monotonic()
    baseline = task_part(settings["task"], "evaluation").BASELINES[name]
    scored, scores = baseline(corpus, settings["evaluate"]), task_part(settings["task"], "scores").SCORES
    made_of = {"corpus": corpus.digest, "settings": settings["evaluate"]}
    write_evaluation(Path("baselines", name), name, scored, scores, made_of)
    whole_text(Path(f"timings/{name}.json"), f'{{"seconds": {time.monotonic() - started:.3f}}}\n')


if __name__ == "__main__":
    main()
