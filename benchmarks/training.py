"""The parts `layer` and `step`: forward and backward of a layer, and a whole update, beside torch.nn."""

from collections.abc import Iterator

from benchmarks.contestants import Shape, layer_flops, layers, step_flops, steps
from benchmarks.page import against, columns, paragraph, row
from benchmarks.timing import Conditions, Timing, product_rate, race

LAYERS = [Shape(35, 20, 200), Shape(35, 20, 650), Shape(35, 32, 128), Shape(64, 32, 256), Shape(35, 64, 256)]
LAYER_TARGETS = {"lstm": 1.0, "rnn": 1.3}
STEPS = [
    (Shape(35, 20, 200, 2, 10_000), 1.35),
    (Shape(35, 20, 650, 2, 10_000), 1.15),
    (Shape(35, 20, 200, 2, 33_000), 1.4),
]
MEASURED = "ours ms", "no profile ms", "plain ms", "plain / ours", "target", "met", "profile costs", "of the limit"


def layer_section(conditions: Conditions) -> Iterator[str]:
    rate = product_rate(conditions.clock)
    yield paragraph(conditions.sentence(conditions.rounds), _limit(rate))
    yield from columns("cell", "T, B, H", *MEASURED, text=2)
    for cell in conditions.cells:
        for shape in LAYERS:
            taken = race(layers(cell, shape), rounds=conditions.rounds, clock=conditions.clock)
            size = f"{shape.steps}, {shape.columns}, {shape.hidden}"
            yield row(cell, size, _measured(taken, LAYER_TARGETS.get(cell, 1.0), layer_flops(cell, shape) / rate))


def step_section(conditions: Conditions) -> Iterator[str]:
    rate = product_rate(conditions.clock)
    yield paragraph(conditions.sentence(conditions.few), _limit(rate))
    yield from columns("cell", "layers x H, words", *MEASURED, text=2)
    for cell in conditions.cells:
        for shape, target in STEPS:
            taken = race(steps(cell, shape), rounds=conditions.few, clock=conditions.clock)
            size = f"{shape.layers} x {shape.hidden}, {shape.words}"
            yield row(cell, size, _measured(taken, target, step_flops(cell, shape) / rate))


def _limit(rate: float) -> str:
    return (
        f"A 2048 x 2048 float32 product reaches {rate / 1e9:.0f} GFLOP/s here; `of the limit` is the time that the "
        "unavoidable products would take at that rate, over ours."
    )


def _measured(taken: dict[str, Timing], target: float, limit: float) -> str:
    """The cells under MEASURED; ``limit`` in seconds."""
    ours, silent, plain = taken["ours"].median, taken["silent"].median, taken["plain"].median
    return (
        f"{ours * 1e3:.2f} | {silent * 1e3:.2f} | {plain * 1e3:.2f} | {against(plain / ours, target)} "
        f"| {ours / silent - 1:+.1%} | {limit / ours:.2f}"
    )
