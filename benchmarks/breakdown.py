"""The part `breakdown`: where the time of a training step goes, by torch's own profiler, ours beside the plain loop."""

import os
import statistics
from collections.abc import Callable, Iterator, Sequence

from torch.profiler import ProfilerActivity, profile

from benchmarks.contestants import Shape, our_step, plain_step, step_flops
from benchmarks.page import columns, paragraph, row
from benchmarks.timing import Conditions, product_rate

SHAPES = [Shape(35, 20, 200, 2, 10_000), Shape(35, 20, 650, 2, 10_000)]
PRODUCTS = ("aten::mm", "aten::addmm", "aten::addmm_", "aten::bmm")
WALKS = ("Unroll", "rnn", "tanh", "Tanh")  # in the names of what goes through time
PARTS = (
    "products with the vocabulary",
    "products of the layers",
    "softmax, its gradient",
    "walk through time",
    "all else",
)
VOCABULARY, LAYERS, SOFTMAX, WALK, REST = PARTS
os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or the profiler tells of each start and stop


def breakdown_section(conditions: Conditions) -> Iterator[str]:
    rate = product_rate(conditions.clock)
    yield paragraph(
        f"{conditions.sentence(conditions.few)} Self times of torch's profiler, in ms, its own cost among them; small",
        "calls show it most, as the plain RNN's. A 2048 x 2048 float32 product reaches",
        f"{rate / 1e9:.0f} GFLOP/s here; in brackets what the products with the vocabulary reach, which nobody can",
        "avoid. The plain LSTM is one call, walk and products together. `at most`: plain / ours if ours took time for",
        "these products alone.",
    )
    yield from columns("cell", "layers x H, words", "whose", *PARTS, "at most", text=3)
    for cell in conditions.cells:
        for shape in SHAPES:
            taken = {"ours": our_step(cell, shape), "plain": plain_step(cell, shape)}
            parts = _medians(taken, shape.words, conditions.few)
            size = f"{shape.layers} x {shape.hidden}, {shape.words}"
            flops = step_flops(cell, shape._replace(layers=0))
            most = sum(parts["plain"].values()) / parts["ours"][VOCABULARY]
            for whose, of in parts.items():
                reached = f"{of[VOCABULARY] * 1e3:.1f} ({flops / of[VOCABULARY] / 1e9:.0f})"
                others = (f"{of[name] * 1e3:.1f}" for name in (LAYERS, SOFTMAX, WALK, REST))
                yield row(cell, size, whose, reached, *others, f"{most:.2f}" if whose == "ours" else "")


def _medians(steps: dict[str, Callable[[], object]], words: int, rounds: int) -> dict[str, dict[str, float]]:
    """Seconds of each part of each step, medians over rounds in which the steps alternate."""
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            parts = _parts(step, words)
            if turn:  # the first is a warm-up
                seen[name].append(parts)
    return {
        name: {part: statistics.median(each[part] for each in rows) for part in rows[0]} for name, rows in seen.items()
    }


def _parts(step: Callable[[], object], words: int) -> dict[str, float]:
    """Seconds of one call, by part."""
    parts = dict.fromkeys(PARTS, 0.0)
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as taken:
        step()
    for event in taken.key_averages(group_by_input_shape=True):
        parts[_part(event.key, event.input_shapes, words)] += event.self_cpu_time_total / 1e6
    return parts


def _part(name: str, shapes: Sequence[Sequence[int]], words: int) -> str:
    if name in PRODUCTS:
        return VOCABULARY if any(words in shape for shape in shapes) else LAYERS
    if "oftmax" in name or any(len(shape) == 2 and shape[1] == words for shape in shapes):
        return SOFTMAX
    return WALK if any(word in name for word in WALKS) else REST
