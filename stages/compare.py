"""report/: all arms of the grid side by side, as tables, figures, metrics and plots."""

from pathlib import Path

import click

from unrolled.errors import one_line_errors
from unrolled.lab import page, report
from unrolled.lab.comparison import Arm, compare
from unrolled.lab.drawing import lines
from unrolled.lab.figures import Figures
from unrolled.lab.runs import Evaluation
from unrolled.sealed import json_of, load, read_sealed
from unrolled.settings import PARAMS, Settings

REPORT = Path("report")


@click.command()
@one_line_errors
def main() -> None:
    """Compare every arm of params.yaml's grid; directories of arms that left the grid are not read."""
    grid = [Settings.load(PARAMS, arm) for arm in Settings.arms(PARAMS)]
    peer = Evaluation.read(Path("evaluation/kneser_ney"))
    comparison = compare([Arm.read(settings) for settings in grid], peer)
    report.write(comparison, REPORT)
    Figures(lines(grid), comparison.tables, comparison.yardsticks, comparison.reduction).write(REPORT / "figures")
    read_sealed(Path("data/text"), "documents.json")
    opening = Path("data/text/test.txt").read_text(encoding="utf-8")[:1000]
    corpus = load(Path("data"), "corpus.json", json_of)
    page.write(comparison, REPORT, page.drawn([str(each.arm) for each in grid], opening), corpus)
    click.echo(report.markdown(comparison))


if __name__ == "__main__":
    main()
