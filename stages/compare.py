"""report/: all arms of the grid side by side, as tables, figures, metrics and plots."""

from pathlib import Path

import click

from unrolled.errors import one_line_errors
from unrolled.lab.runs import Evaluation
from unrolled.report import page, tables
from unrolled.report.comparison import compare, read_grid
from unrolled.report.drawing import lines
from unrolled.report.figures import Figures
from unrolled.sealed import json_of, load, read_sealed
from unrolled.settings import PARAMS, Settings

REPORT = Path("report")


@click.command()
@one_line_errors
def main() -> None:
    """Compare every arm of params.yaml's grid, or, called by hand before all are there, those that are."""
    grid = [Settings.load(PARAMS, arm) for arm in Settings.arms(PARAMS)]
    peer = Evaluation.read(Path("evaluation/kneser_ney"))
    arms, missing = read_grid(grid)
    comparison = compare(arms, peer, list(missing))
    tables.write(comparison, REPORT)
    drawn = [line for line in lines(grid) if line.arm not in missing]
    Figures(drawn, comparison.tables, comparison.yardsticks, comparison.reduction).write(REPORT / "figures")
    read_sealed(Path("data/text"), "documents.json")
    opening = Path("data/text/test.txt").read_text(encoding="utf-8")[:1000]
    corpus = load(Path("data"), "corpus.json", json_of)
    page.write(comparison, REPORT, page.drawn([arm.name for arm in arms], opening), corpus)
    click.echo(tables.markdown(comparison))
    for arm, stages in missing.items():
        click.echo(f"{arm} is left out, for it is not there yet; make it with: dvc repro {stages}", err=True)


if __name__ == "__main__":
    main()
