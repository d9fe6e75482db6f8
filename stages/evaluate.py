"""evaluation/<arm>: the test split scored by one trained arm."""

from pathlib import Path

import click

from unrolled.ground.corpus import read_corpus
from unrolled.ground.evaluation import Evaluation, Resampling
from unrolled.ground.registry import task_part
from unrolled.ground.resolved import read_resolved
from unrolled.ground.run import Run
from unrolled.scoring.evaluation import write_evaluation
from unrolled.shell.stage import stage


@click.command()
@click.argument("arm")
@stage
def main(arm: str) -> None:
    """Score the test split with ARM's best weights."""
    settings, corpus = read_resolved("evaluate"), read_corpus(Path("data/encoded"))
    task, model = task_part(settings["task"], "evaluation"), Run.read(Path("runs", arm)).model()
    baselines = {name: Evaluation.read(Path("baselines", name)) for name in task.BASELINES}
    scored = task.evaluate(model, corpus, settings["evaluate"], baselines)
    scores = task_part(settings["task"], "scores").SCORES
    write_evaluation(Path("evaluation", arm), arm, scored, scores, Resampling.of(settings["evaluate"]))


if __name__ == "__main__":
    main()
