"""Where each word of a text is heard, drawn over the sound itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray

from unrolled.ground.atomic import workplace
from unrolled.report.drawing import FAINT, INK, STYLE

HEARD, SPOKEN = "#2f5aa8", "#c2571a"
ROW, SOUND = 0.3, 1.5  # inches that a word takes, and the sound below all of them
QUIET, LOUD = -2.0, 3.5  # features that are drawn white and black
LETTERS = 7  # of a title, an inch
FRAMES = 100  # a second

Floats = NDArray[Any]


def alignment(
    axes: Axes, sound: Floats, words: Sequence[str], attention: Floats, step: float,
    spoken: Sequence[tuple[int, int]] = (),
) -> None:  # fmt: skip
    """The sound, [frames, mels]; above it a row a word, the first on top: ``attention`` [words, T] by the moment.

    The largest weight of all fills its row. ``step``: seconds of each of the T; ``spoken``: of each word its first and
    last frame, -1 where nobody knows.
    """
    seconds, bands = len(sound) / FRAMES, sound.shape[1]
    height = bands * ROW / SOUND
    top = bands + len(words) * height
    axes.imshow(
        sound.T, origin="lower", aspect="auto", cmap="Greys", extent=(0, seconds, 0, bands), vmin=QUIET, vmax=LOUD,
        interpolation="nearest",
    )  # fmt: skip
    scale = 0.92 * height / max(attention.max(initial=0.0), 1e-9)
    edges = np.minimum(np.arange(attention.shape[1] + 1) * step, seconds)
    for number, (word, weights) in enumerate(zip(words, attention, strict=True)):
        bottom = top - (number + 1) * height
        axes.axhline(bottom, color=FAINT, linewidth=0.4)
        axes.stairs(bottom + weights * scale, edges, baseline=bottom, fill=True, color=HEARD, linewidth=0)
        axes.annotate(
            word, (0, bottom + height / 2), (-6, 0), textcoords="offset points", ha="right", va="center", fontsize=9,
            parse_math=False,
        )  # fmt: skip
    for number, (first, last) in enumerate(spoken):
        if first >= 0:
            bottom, ends = top - (number + 1) * height, (first / FRAMES, (last + 1) / FRAMES)
            axes.vlines(ends, 0, bands, color=SPOKEN, linewidth=0.8)
            axes.hlines(bottom, *ends, color=SPOKEN, linewidth=1.6)
    axes.axhline(bands, color=INK, linewidth=0.6)
    axes.set(xlabel="seconds", xlim=(0, seconds), ylim=(0, top))
    axes.set_yticks([])
    axes.grid(False)


def draw(place: Path, title: str, sound: Floats, words: Sequence[str], attention: Floats, step: float) -> None:
    """Write the picture, svg or png by the ending of ``place``, whole or not at all; the others as in `alignment`."""
    with matplotlib.rc_context(STYLE):
        wide = min(max(5.0, 1.5 + 1.6 * len(sound) / FRAMES), 16.0)
        figure = Figure(figsize=(wide, 1.0 + SOUND + ROW * len(words)), layout="constrained", facecolor="white")
        axes = figure.subplots()
        alignment(axes, sound, words, attention, step)
        most = int(LETTERS * wide)
        axes.set_title(title if len(title) <= most else f"…{title[1 - most :]}", parse_math=False)
        _save(figure, place)


def _save(figure: Figure, place: Path) -> None:
    with workplace(place) as folder:
        made = folder / place.name
        if place.suffix.lower() == ".svg":
            FigureCanvasSVG(figure).print_svg(made, metadata={"Date": None})
        else:
            figure.set_dpi(160)
            FigureCanvasAgg(figure).print_png(made, metadata={"Software": None})
        made.replace(place)
