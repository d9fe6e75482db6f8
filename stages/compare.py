"""report/ and metrics.json: all arms of the grid side by side, as tables, figures, metrics and plots."""

from pathlib import Path

import click

from unrolled.ground.atomic import whole_folder
from unrolled.ground.corpus import read_report
from unrolled.ground.resolved import read_resolved
from unrolled.report import page, tables
from unrolled.report.arms import read_baselines, read_grid
from unrolled.report.comparison import compare
from unrolled.report.figures import Figures
from unrolled.shell.stage import stage


@click.command()
@stage
def main() -> None:
    """Compare all arms of the grid; or, run by hand before all are there, those that are."""
    grid, evaluate = read_resolved("grid"), read_resolved("evaluate")["evaluate"]
    arms, missing = read_grid(grid["arms"])
    corpus = read_report(Path("data"))
    comparison = compare(grid, evaluate, corpus["digest"], arms, read_baselines(grid["task"]), list(missing))
    write = comparison.wording.samples
    samples = write([each.arms[0].name for each in comparison.configurations]) if write else {}
    warnings = list(corpus.get("warnings", {}).values())
    with whole_folder(Path("report")) as place:
        tables.write(comparison, place, warnings)
        Figures(comparison).write(place / "figures")
        page.write(comparison, place, samples, corpus)
    tables.write_metrics(comparison, Path("metrics.json"))
    click.echo(tables.markdown(comparison, warnings))
    for arm, stages in missing.items():
        click.echo(f"{arm} is left out because it is not there yet; make it with: dvc repro {stages}", err=True)


if __name__ == "__main__":
    main()
