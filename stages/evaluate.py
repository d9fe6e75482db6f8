"""evaluation/<arm>: the test split scored by one trained arm."""

from pathlib import Path

import click

from unrolled.ground.corpus import read_corpus
from unrolled.ground.evaluation import Evaluation
from unrolled.ground.registry import task_part
from unrolled.ground.resolved import arm_named, read_resolved
from unrolled.ground.run import Run
from unrolled.scoring.evaluation import write_evaluation
from unrolled.shell.stage import stage


@click.command()
@click.argument("arm")
@stage
def main(arm: str) -> None:
    """Score the test split with ARM's best weights."""
    arm = arm_named(arm)
    settings, corpus, run = read_resolved("evaluate"), read_corpus(Path("data/encoded")), Run.of_arm(arm)
    task, scores = task_part(settings["task"], "evaluation"), task_part(settings["task"], "scores").SCORES
    baselines = {name: Evaluation.read(Path("baselines", name)) for name in task.BASELINES}
    made_of = {"corpus": corpus.digest, "settings": settings["evaluate"]}
    run.check(corpus.digest)
    for baseline in baselines.values():
        baseline.check(made_of)
    scored = task.evaluate(run.model(), corpus, settings["evaluate"], baselines)
    made_of |= {"run": run.digest, "baselines": {name: each.digest for name, each in baselines.items()}}
    write_evaluation(Path("evaluation", arm), arm, scored, scores, made_of)


if __name__ == "__main__":
    main()
