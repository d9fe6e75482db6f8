"""Speed beside plain torch.nn on the same work; writes benchmarks/results.md.

On a machine that others use at the same time, `--clock cpu --threads 1` counts processor time, which waiting for
the others does not enter; the default is what a user feels: wall time, as many threads as cores.
"""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "src"))

from contestants import (  # type: ignore[import-not-found]  # noqa: E402
    Shape,
    layer_flops,
    layers,
    our_step,
    plain_step,
    step_flops,
    steps,
)
from timing import Timing, machine, product_rate, race  # type: ignore[import-not-found]  # noqa: E402

LAYERS = [Shape(35, 20, 200), Shape(35, 20, 650), Shape(35, 32, 128), Shape(64, 32, 256), Shape(35, 64, 256)]
LAYER_TARGETS = {"lstm": 1.0, "rnn": 1.3}
STEPS = [
    (Shape(35, 20, 200, 2, 10_000), 1.35),
    (Shape(35, 20, 650, 2, 10_000), 1.15),
    (Shape(35, 20, 200, 2, 33_000), 1.4),
]
HEAD = "| cell | T, B, H | ours ms | no profile ms | plain ms | plain / ours | target | profile costs | of the limit |"
PARTS = ["layer", "step", "scaling", "memory"]


@click.command()
@click.option("--rounds", default=40, show_default=True, help="Rounds counted; of steps a quarter.")
@click.option("--threads", default=os.cpu_count(), show_default="cores", help="Threads of torch.")
@click.option("--clock", type=click.Choice(["wall", "cpu"]), default="wall", show_default=True)
@click.option("--cell", "cells", multiple=True, default=["lstm", "rnn"], show_default=True)
@click.option("--only", type=click.Choice(PARTS), multiple=True, help="These parts only.")
@click.option("--output", type=click.Path(path_type=Path), default=HERE / "results.md", show_default=True)
@click.option("--peak", nargs=2, type=(str, int), hidden=True, help="Print the peak memory of one contestant's step.")
def main(
    rounds: int, threads: int, clock: str, cells: tuple[str, ...], only: tuple[str, ...], output: Path,
    peak: tuple[str, int] | None,
) -> None:  # fmt: skip
    """Race this project's layers and training steps against plain torch.nn."""
    torch.set_num_threads(threads)
    if peak:
        print(peak_memory(*peak))
        return
    parts = only or PARTS
    lines = ["# Speed beside plain torch.nn", "", f"{machine()}; {clock} time, medians of alternating rounds.", ""]
    rate = product_rate(clock)
    lines += [f"A 2048 x 2048 float32 product reaches {rate / 1e9:.0f} GFLOP/s here; `of the limit` is the time that"]
    lines += ["the unavoidable products would take at that rate, over ours. `plain / ours` above 1: ours wins.", ""]
    if "layer" in parts:
        lines += ["## One layer, forward and backward", "", *layer_table(cells, rounds, clock, rate), ""]
    if "step" in parts:
        lines += ["## A whole training step", "", *step_table(cells, max(rounds // 4, 3), clock, rate), ""]
    if "scaling" in parts:
        lines += ["## Cost against size", "", *scaling_table(cells, max(rounds // 4, 3), clock), ""]
    if "memory" in parts:
        lines += ["## Peak resident memory of ten training steps, LSTM 2 x 200", "", *memory_table(), ""]
    part = output.with_suffix(".part")
    part.write_text("\n".join(lines), encoding="utf-8")
    os.replace(part, output)


def row(cell: str, size: str, taken: dict[str, Timing], target: float, limit: float) -> str:
    """One line of a table of races; `limit` in seconds."""
    ours, silent, plain = taken["ours"].median, taken["silent"].median, taken["plain"].median
    line = (
        f"| {cell} | {size} | {ours * 1e3:.2f} | {silent * 1e3:.2f} | {plain * 1e3:.2f} | **{plain / ours:.2f}** "
        f"| {target:.2f} | {ours / silent - 1:+.1%} | {limit / ours:.2f} |"
    )
    print(line, flush=True)
    return line


def layer_table(cells: tuple[str, ...], rounds: int, clock: str, rate: float) -> Iterator[str]:
    yield from (HEAD, "|---|---|--:|--:|--:|--:|--:|--:|--:|")
    for cell in cells:
        for shape in LAYERS:
            taken = race(layers(cell, shape), rounds=rounds, clock=clock)
            size = f"{shape.steps}, {shape.columns}, {shape.hidden}"
            yield row(cell, size, taken, LAYER_TARGETS.get(cell, 1.0), layer_flops(cell, shape) / rate)


def step_table(cells: tuple[str, ...], rounds: int, clock: str, rate: float) -> Iterator[str]:
    yield from (HEAD.replace("T, B, H", "layers x H, words"), "|---|---|--:|--:|--:|--:|--:|--:|--:|")
    for cell in cells:
        for shape, target in STEPS:
            taken = race(steps(cell, shape), rounds=rounds, clock=clock)
            size = f"{shape.layers} x {shape.hidden}, {shape.words}"
            yield row(cell, size, taken, target, step_flops(cell, shape) / rate)


def scaling_table(cells: tuple[str, ...], rounds: int, clock: str) -> Iterator[str]:
    """Milliseconds of a step as one size doubles and doubles again: straight lines (H: a square)."""
    base = Shape(35, 20, 128, 1, 4_000)
    yield from ("| cell | size | 1 x | 2 x | 4 x |", "|---|---|--:|--:|--:|")
    for cell in cells:
        for size in ("steps", "columns", "hidden", "layers", "words"):
            shapes = {factor: base._replace(**{size: getattr(base, size) * factor}) for factor in (1, 2, 4)}
            calls = {str(factor): our_step(cell, shape) for factor, shape in shapes.items()}
            taken = race(calls, rounds=rounds, clock=clock)
            cost = " | ".join(f"{taken[str(factor)].median * 1e3:.1f}" for factor in shapes)
            yield f"| {cell} | {size} from {getattr(base, size)} | {cost} |"


def memory_table() -> Iterator[str]:
    yield from ("| words | ours MB | plain MB |", "|--:|--:|--:|")
    for words in (10_000, 33_000):
        calls = ([sys.executable, __file__, "--peak", who, str(words)] for who in ("ours", "plain"))
        ours, plain = (int(subprocess.run(call, capture_output=True, check=True).stdout) for call in calls)
        yield f"| {words} | {ours / 1024:.0f} | {plain / 1024:.0f} |"


def peak_memory(who: str, words: int) -> int:
    """Peak resident memory of this process in KB after ten steps."""
    step = {"ours": our_step, "plain": plain_step}[who]("lstm", Shape(35, 20, 200, 2, words))
    for _ in range(10):
        step()
    status = Path("/proc/self/status")  # where there is none, the peak of the process that started this one counts too
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
