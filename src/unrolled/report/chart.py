"""Panels and their legend as one figure: a specification of Vega-Lite, and the pictures that are made of it."""

import json
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vl_convert

from unrolled.ground.atomic import workplace
from unrolled.report.panel import FAINT, HIDDEN, INK, Key, Layer, Panel

FONT = "Liberation Sans, Arial, Helvetica, sans-serif"  # vl-convert brings the first, so pictures are alike anywhere
CONFIG: Mapping[str, Any] = {
    "background": "white", "padding": 10, "font": FONT, "view": {"stroke": None}, "concat": {"spacing": 24},
    "title": {"fontSize": 13, "anchor": "start", "color": INK, "offset": 8, "frame": "group"},
    "axis": {
        "titleFontSize": 12, "titleFontWeight": "normal", "titleColor": INK, "titlePadding": 6, "labelFontSize": 11,
        "labelColor": INK, "gridColor": "#E4E4E4", "domainColor": FAINT, "tickColor": FAINT,
        "labelOverlap": "greedy", "labelLimit": 320,
    },
    "point": {"opacity": 1},
    "line": {"strokeJoin": "round"},  # a sharp corner would end beyond the value that it stands for
}  # fmt: skip
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
SIZES = {1: (460.0, 280.0), 2: (400.0, 240.0), 3: (300.0, 230.0)}  # px of a panel, by how many stand side by side
SWATCH, LETTER, ROW, GAP = 30, 6.4, 20, 26  # px of a line in the legend, of a letter, between keys, between columns
SHARP = 2.0  # pixels of the png for one of the svg


@dataclass(frozen=True)
class Chart:
    """Panels side by side, at most ``across`` a row, one legend for all: below them, or beside the only one.

    ``legend``: columns of keys. ``alike``: the y axes are, and titled at the left alone.
    """

    panels: Sequence[Panel]
    legend: Sequence[Sequence[Key]] = ()
    alike: bool = False
    size: tuple[float, float] | None = None  # px of a panel
    across: int = 3

    @property
    def columns(self) -> int:
        return 2 if len(self.panels) == 4 else min(len(self.panels), self.across)

    def specification(self, *, live: bool = True) -> Layer:
        """``live``: with what only a browser does, tell the value under the pointer, and what each mark is.

        In a picture nobody hears what a mark is, and it would be half as large again.
        """
        size = self.size or SIZES[self.columns]
        keys = [key for column in self.legend for key in column]
        colours = {key.arm: key.look.colour or INK for key in keys if key.arm}
        views = []
        for number, panel in enumerate(self.panels):
            titled = not self.alike or number % self.columns == 0
            view = panel.specification(colours, f"values_{number}", size=size, titled=titled)
            views.append(view if live else {**view, "layer": [each for each in view["layer"] if "name" not in each]})
        frame = {"$schema": SCHEMA, "config": {**CONFIG, **({} if live else {"aria": False})}}
        if len(views) == 1:
            return {**frame, "hconcat": [*views, *([_legend([keys])] if keys else [])]}
        width = (size[0] + 60) * self.columns
        legend = [_legend(_fitted(self.legend, width))] if keys else []
        return {**frame, "vconcat": [{"concat": views, "columns": self.columns}, *legend], "spacing": 8}

    def write(self, path: Path, suffixes: Collection[str] = (".svg", ".png")) -> None:
        """Beside ``path``, a file a suffix, each whole or not at all; the json is the live specification."""
        svg = _slim(vl_convert.vegalite_to_svg(self.specification(live=False)))
        make: dict[str, Callable[[], bytes]] = {
            ".svg": svg.encode,
            ".png": lambda: vl_convert.svg_to_png(svg, scale=SHARP),
            ".json": lambda: json.dumps(self.specification(), separators=(",", ":")).encode(),
        }
        with workplace(path) as place:
            for suffix in suffixes:
                whole = place / f"{path.stem}{suffix}"
                whole.write_bytes(make[suffix]())
                os.replace(whole, path if path.suffix.lower() == suffix else path.with_suffix(suffix))


def _slim(svg: str) -> str:
    """The same picture in half the letters, its clips numbered from 0.

    Vega counts clips on from one picture to the next, as long as the process lives; and it tells of each group and
    letter what only a script or a screen reader asks for.
    """
    found: dict[str, str] = {}
    svg = re.sub(r'(?<=id=")clip\d+|(?<=url\(#)clip\d+', lambda clip: found.setdefault(clip[0], f"c{len(found)}"), svg)
    svg = re.sub(r' (?:class|role|pointer-events|aria-[a-z]+|font-family)="[^"]*"', "", svg)
    svg = re.sub(r'<path d="[^"]*"(?: display="none")?/>', "", svg)  # neither filled nor drawn
    svg = svg.replace(' opacity="1"', "").replace(' stroke-dasharray=""', "")
    svg = re.sub(r"(?<=\.\d\d)\d+(?=[^<>]*>)", "", svg)  # of px; texts keep their digits
    return svg.replace("<svg ", f'<svg font-family="{FONT}" ', 1)


def _wide(keys: Sequence[Key]) -> float:
    return SWATCH + 8 + LETTER * max(len(key.label) for key in keys)


def _fitted(columns: Sequence[Sequence[Key]], width: float) -> list[list[Key]]:
    """Columns one below another where they are too many for a row."""
    for across in range(len(columns), 0, -1):
        folded = [[key for column in columns[first::across] for key in column] for first in range(across)]
        if sum(_wide(column) + GAP for column in folded) <= width:
            break
    return folded


def _legend(columns: Sequence[Sequence[Key]]) -> Layer:
    """A view of its own: a click on an arm hides it in every panel, another shows it again, a double one shows all."""
    rows, left = [], 0.0
    for column in columns:
        wide = _wide(column)
        for down, (label, look, arm) in enumerate(column):
            colour, y = look.colour or INK, ROW * (down + 0.5)
            drawn = {"colour": colour, "dash": list(look.dash), "width": look.width}
            marker = {"shape": look.marker, "size": look.size**2, "inside": "white" if look.open else colour}
            place = {"x": left, "x2": left + SWATCH, "middle": left + SWATCH / 2, "text": left + SWATCH + 8, "y": y}
            edge = {"end": left + wide, "top": y - ROW / 2, "bottom": y + ROW / 2}
            rows.append({"label": label, "arm": arm, **drawn, **(marker if look.marker else {}), **place, **edge})
        left += wide + GAP
    width, height = left - GAP, ROW * max(map(len, columns))
    across = {"type": "quantitative", "axis": None, "scale": {"domain": [0, width], "nice": False}}
    up = {"type": "quantitative", "axis": None, "scale": {"domain": [height, 0], "nice": False}}
    hides = any(row["arm"] for row in rows)
    faint = {"opacity": {"condition": {**HIDDEN, "value": 0.25}, "value": 1}} if hides else {}

    def layer(mark: Layer, shown: str, x: str, channels: Layer, y: str = "y") -> Layer:
        encoding = {"x": {"field": x, **across}, "y": {"field": y, **up}, **channels}
        return {"transform": [{"filter": shown}], "mark": mark, "encoding": encoding}

    def as_it_is(name: str) -> Layer:
        kind = "quantitative" if name in ("width", "size") else "nominal"
        return {"field": name, "type": kind, "scale": None, "legend": None}

    line = {"color": as_it_is("colour"), "strokeDash": as_it_is("dash"), "strokeWidth": as_it_is("width")}
    dot = {
        "stroke": as_it_is("colour"),
        "fill": as_it_is("inside"),
        "shape": as_it_is("shape"),
        "size": as_it_is("size"),
    }
    words = {"type": "text", "align": "left", "baseline": "middle", "fontSize": 12, "color": INK}
    layers = [
        layer({"type": "rule"}, "datum.width > 0", "x", {"x2": {"field": "x2"}, **line, **faint}),
        layer({"type": "point"}, "isValid(datum.shape)", "middle", {**dot, **faint}),
        layer(words, "true", "text", {"text": {"field": "label"}, **faint}),
    ]
    if hides:
        field = {"type": "rect", "opacity": 0, "cursor": "pointer", "tooltip": "click to hide or show"}
        hide = {"name": "hidden", "select": {"type": "point", "fields": ["arm"], "toggle": "true", "on": "click"}}
        keys = layer(field, "isValid(datum.arm)", "x", {"x2": {"field": "end"}, "y2": {"field": "bottom"}}, "top")
        layers.append({"name": "keys", "params": [hide], **keys})
    return {"width": width, "height": height, "data": {"values": rows}, "layer": layers}
