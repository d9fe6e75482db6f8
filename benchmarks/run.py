"""Speed beside what everyone writes, on the same work; writes benchmarks/results.md.

On a machine that others use at the same time, `--clock cpu --threads 1` counts processor time, which waiting for
the others does not enter; the default is what a user feels: wall time, as many threads as cores.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import torch

from benchmarks import page
from benchmarks.breakdown import breakdown_section
from benchmarks.contestants import PLAIN
from benchmarks.generation import generation_section
from benchmarks.gpu import gpu_section
from benchmarks.jobs import jobs_section
from benchmarks.lengths import lengths_section
from benchmarks.memory import memory_section
from benchmarks.modules import modules_section
from benchmarks.processes import processes_section
from benchmarks.scaling import scaling_section
from benchmarks.size import size_section
from benchmarks.stage import stage_section
from benchmarks.tagging import tagging_section
from benchmarks.text import text_section
from benchmarks.timing import Conditions
from benchmarks.training import layer_section, step_section
from benchmarks.vocabulary import vocabulary_section

PARTS: dict[str, tuple[str, Callable[[Conditions], Iterator[str]]]] = {
    "layer": ("One layer, forward and backward", layer_section),
    "lengths": ("One layer, columns of different lengths", lengths_section),
    "modules": ("In place of torch's modules", modules_section),
    "step": ("A whole training step", step_section),
    "stage": ("Training as the stage runs it", stage_section),
    "tagging": ("Training a tagger", tagging_section),
    "processes": ("One arm in several processes", processes_section),
    "gpu": ("On a GPU", gpu_section),
    "breakdown": ("Where the time of a step goes", breakdown_section),
    "scaling": ("Cost against size", scaling_section),
    "vocabulary": ("Many types", vocabulary_section),
    "memory": ("Peak memory of training", memory_section),
    "text": ("Preparing text", text_section),
    "size": ("Preparing large text", size_section),
    "generation": ("Generating text", generation_section),
    "jobs": ("The whole pipeline, two jobs beside one", jobs_section),
}
CELLS = ["lstm", "rnn"]
LONG = {"gpu", "jobs", "size", "tagging"}  # only if asked for: a machine or a corpus of its own, or ten minutes


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=40, show_default=True, help="Of what takes long a quarter.")
@click.option("--threads", type=click.IntRange(1), default=os.cpu_count(), show_default="cores")
@click.option("--clock", type=click.Choice(["wall", "cpu"]), default="wall", show_default=True)
@click.option("--cell", "cells", type=click.Choice(list(PLAIN)), multiple=True, default=CELLS, show_default=True)
@click.option(
    "--only",
    type=click.Choice(list(PARTS)),
    multiple=True,
    help="These parts; if not given all but gpu, jobs, size, tagging.",
)
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False, writable=True),
    default=Path(__file__).with_name("results.md"), show_default="benchmarks/results.md",
)  # fmt: skip
def main(rounds: int, threads: int, clock: str, cells: tuple[str, ...], only: tuple[str, ...], output: Path) -> None:
    """Race this project against what everyone writes; a part measured anew replaces its section, the others stay."""
    if not output.absolute().parent.is_dir():
        raise click.BadParameter(f"the folder {output.parent} does not exist", param_hint="--output")
    torch.set_num_threads(threads)
    os.environ["RAYON_NUM_THREADS"] = str(threads)  # those of tokenizers
    conditions = Conditions(rounds, threads, clock, tuple(dict.fromkeys(cells)), output.absolute().parent)
    for part, (title, section) in PARTS.items():
        if part in (only or PARTS.keys() - LONG):
            print(f"\n## {title}\n", flush=True)
            lines = []
            for line in section(conditions):
                print(line, flush=True)
                lines.append(line)
            write_section(output, title, lines)


def write_section(output: Path, title: str, lines: list[str]) -> None:
    """Each part as soon as it is measured, so that what an interrupted run has measured stays."""
    sections = page.read(output) | {title: "\n".join(lines)}
    page.write(output, sections, [name for name, _ in PARTS.values()])


if __name__ == "__main__":
    main()
