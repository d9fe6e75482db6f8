"""Where each word of a text is heard, drawn over the sound itself."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unrolled.report.chart import Chart
from unrolled.report.panel import FAINT, INK, Layer, Panel

HEARD, SPOKEN = "#2f5aa8", "#c2571a"
ROW, SOUND = 22.0, 108.0  # px that a word takes, and the sound below all of them
QUIET, LOUD = -2.0, 3.5  # features that are drawn white and black
FRAMES = 100  # a second

Floats = NDArray[Any]


def alignment(
    panel: Panel, sound: Floats, words: Sequence[str], attention: Floats, step: float,
    spoken: Sequence[tuple[int, int]] = (),
) -> None:  # fmt: skip
    """The sound, [frames, mels]; above it a row a word, the first on top: ``attention`` [words, T] by the moment.

    The largest weight of all fills its row. ``step``: seconds of each of the T; ``spoken``: of each word its first and
    last frame, -1 where nobody knows.
    """
    seconds, rows = len(sound) / FRAMES, len(words)
    foot = SOUND / ROW  # rows that the sound is high
    panel.x.title, panel.x.limits, panel.x.grid = "seconds", (0.0, seconds), False
    panel.y.limits, panel.y.grid = (0.0, rows + foot), False
    bottoms = [foot + rows - 1 - number for number in range(rows)]
    panel.y.ticks, panel.y.labels = [bottom + 0.5 for bottom in bottoms], list(words)
    picture = {"url": _png(sound), "x": 0, "x2": seconds, "y": 0, "y2": foot}
    behind: Layer = {"mark": {"type": "image", "aspect": False}, "encoding": {"url": {"field": "url"}, **SIDES}}
    panel.layers.append(({"data": {"values": [picture]}, **behind}, True))
    scale = 0.92 / max(attention.max(initial=0.0), 1e-9)
    edges = np.minimum(np.arange(attention.shape[1] + 1) * step, seconds)
    heard = [
        {"x": start, "x2": end, "y": bottom, "y2": bottom + scale * weight,
         "told": f"{word}: {weight:.1%} of attention"}
        for bottom, word, weights in zip(bottoms, words, attention.tolist(), strict=True)
        for start, end, weight in zip(edges[:-1].tolist(), edges[1:].tolist(), weights, strict=True)
        if weight * scale > 0.002
    ]  # fmt: skip
    _add(panel, "rect", heard, color=HEARD)
    edge = [{"x": 0, "x2": seconds, "y": bottom, "y2": bottom} for bottom in bottoms]
    _add(panel, "rule", edge, color=FAINT, strokeWidth=0.4)
    _add(panel, "rule", [{"x": 0, "x2": seconds, "y": foot, "y2": foot}], color=INK, strokeWidth=0.6)
    at_words = zip(bottoms, spoken, strict=False)  # or nobody knows
    known = [(at, first / FRAMES, (last + 1) / FRAMES) for at, (first, last) in at_words if first >= 0]
    below = [{"x": end, "x2": end, "y": 0, "y2": foot} for _, *ends in known for end in ends]
    above = [{"x": start, "x2": end, "y": at, "y2": at} for at, start, end in known]
    _add(panel, "rule", below, color=SPOKEN, strokeWidth=0.8)
    _add(panel, "rule", above, color=SPOKEN, strokeWidth=1.8)


SIDES = {side: side for side in ("x", "x2", "y", "y2")}


def _add(panel: Panel, mark: str, rows: Sequence[Layer], **look: Any) -> None:
    told = {"tooltip": {"field": "told"}} if rows and "told" in rows[0] else {}
    layer = {"data": {"values": rows}, "mark": {"type": mark, **look}, "encoding": {**SIDES, **told}}
    panel.layers.append((layer, False))


def _png(sound: Floats) -> str:
    """The address of a picture that holds the picture: the louder the darker, high pitches above."""
    grey = 255 * (1 - np.clip((sound.T[::-1] - QUIET) / (LOUD - QUIET), 0, 1))
    file = io.BytesIO()
    Image.fromarray(grey.astype(np.uint8)).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def size(sound: Floats, words: Sequence[str]) -> tuple[float, float]:
    """Of the panel, px."""
    return min(max(300.0, 1.2 * len(sound)), 1100.0), SOUND + ROW * len(words)


def draw(place: Path, title: str, sound: Floats, words: Sequence[str], attention: Floats, step: float) -> None:
    """Write the picture, svg or png by the ending of ``place``, whole or not at all; the others as in `alignment`."""
    panel = Panel(title)
    alignment(panel, sound, words, attention, step)
    Chart([panel], size=size(sound, words)).write(place, (place.suffix.lower(),))
