"""A figure as a specification of Vega-Lite: what it draws as a picture, a browser draws with its values at hand.

A series is one line or set of points of an arm. Its rows are {x, y, s: its number}, and where its value lies beyond the
axis {o: that, t: 1 where a triangle says so, a: where it belongs, which the triangle may stand beside}; all else stands
once a series, to keep pages small.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from unrolled.report.axis import NOTHING, Axis

INK, FAINT = "#262626", "#8C8C8C"
PLAIN = "{0} === 0 || abs({0}) >= 0.001 && abs({0}) < 1e6"
DIGITS = f"{PLAIN} ? format({{0}}, ',.5~r') : replace(format({{0}}, '.3~e'), '+', '')"
TOLD = f"isNumber({{0}}) ? {DIGITS} : {{0}}"
MANY = 40  # points of a line
HIDDEN = {"param": "hidden", "empty": False}

Layer = dict[str, Any]
# As a row has it: a scale would have to name all arms in each layer, and most of a page with many would be that.
COLOURED: Layer = {"color": {"field": "colour", "type": "nominal", "scale": None, "legend": None}}


class Look(NamedTuple):
    """How a series is drawn; sizes in px."""

    colour: str | None = None  # the arm's own
    dash: Sequence[float] = ()  # lengths on and off
    width: float = 2.0  # 0: no line
    marker: str | None = None
    size: float = 5.0
    open: bool = False


class Key(NamedTuple):
    """A line of the legend; who clicks on an ``arm``'s hides it."""

    label: str
    look: Look
    arm: str | None = None


class Series(NamedTuple):
    """``name``: as the value under the pointer is told; ``arm``: that it is hidden with, "" for none."""

    arm: str
    name: str
    look: Look


@dataclass
class Panel:
    """One pair of axes and what is drawn between them."""

    title: str = ""
    x: Axis = field(default_factory=Axis)
    y: Axis = field(default_factory=Axis)
    series: list[Series] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    layers: list[tuple[Layer, bool]] = field(default_factory=list)  # beside the series: marks, whether below them

    def set(self, title: str, x: str = "", y: str = "", log: str = "") -> None:
        """``log``: the axes, of "xy", that are logarithmic."""
        self.title, self.x.title, self.y.title, self.x.log, self.y.log = title, x, y, "x" in log, "y" in log

    def add(
        self, series: Series, x: Iterable[float], y: Iterable[float], top: float = math.inf, dodge: float = 0.0
    ) -> None:
        """What lies above ``top`` stands there, at the edge, as a triangle: of many in a row the first.

        ``dodge``: how far aside triangles stand, so that they do not hide those of others.
        """
        number, points = len(self.series), list(zip(x, y, strict=True))
        self.series.append(series)
        before = False
        for across, up in points:
            up = NOTHING if self.y.log and up <= 0 else up
            row: dict[str, Any] = {"x": short(across), "y": short(min(up, top)), "s": number}
            if beyond := up > top:
                row |= {"x": short(across + dodge), "a": row["x"]} if dodge else {}
                row["o"] = short(up) if math.isfinite(up) else "infinity"
                row |= {} if before and len(points) > MANY else {"t": 1}
            before = beyond
            self.rows.append(row)

    def rule(self, height: float, look: Look, told: str = "") -> None:
        """A horizontal line from edge to edge; none where ``height`` lies beyond the axis."""
        mark = {"type": "rule", "clip": True, "color": look.colour, "strokeWidth": look.width, "strokeDash": look.dash}
        if told:
            mark |= {"tooltip": told}
        self.layers.append(({"data": {"values": [{"y": short(height)}]}, "mark": mark, "encoding": {"y": "y"}}, True))

    def bars(
        self, of: Series, places: Iterable[float], heights: Iterable[float], wide: float, told: Iterable[str]
    ) -> None:
        """From zero up or down; ``told``: what each height is, beside its size under the pointer."""
        rows = [
            {"x": short(place - wide / 2), "x2": short(place + wide / 2), "y": short(height), "y2": 0, "arm": of.arm,
             "told": said, "size": f"{abs(height):.4g}"}
            for place, height, said in zip(places, heights, told, strict=True)
        ]  # fmt: skip
        fields = {"arm": "title", "size": " ", "told": "of"}
        tooltip = [{"field": name, "title": title} for name, title in fields.items()]
        encoding = {"x": "x", "x2": "x2", "y": "y", "y2": "y2", "color": "arm", "tooltip": tooltip}
        self.layers.append(({"data": {"values": rows}, "mark": "rect", "encoding": encoding}, False))

    def cells(
        self, x: Sequence[int], y: Sequence[int], values: Sequence[float], scale: Layer, told: Sequence[str]
    ) -> None:
        """Of a heat map, each one wide and high about (x, y); a value that is nan leaves its cell white."""
        rows = [
            {"x": a - 0.5, "x2": a + 0.5, "y": b - 0.5, "y2": b + 0.5, "value": short(value), "told": said}
            for a, b, value, said in zip(x, y, values, told, strict=True)
            if math.isfinite(value)
        ]
        shade = {"field": "value", "type": "quantitative", "scale": scale, "legend": None}
        encoding = {"x": "x", "x2": "x2", "y": "y", "y2": "y2", "fill": shade, "tooltip": {"field": "told"}}
        self.layers.append(({"data": {"values": rows}, "mark": "rect", "encoding": encoding}, True))

    def words(self, x: Iterable[float], y: Iterable[float], texts: Iterable[str], **mark: Any) -> None:
        rows = [{"x": short(a), "y": short(b), "text": text} for a, b, text in zip(x, y, texts, strict=True)]
        look = {"type": "text", "color": INK, "fontSize": 10, "lineBreak": "\n", **mark}
        encoding = {"x": "x", "y": "y", "text": {"field": "text"}}
        self.layers.append(({"data": {"values": rows}, "mark": look, "encoding": encoding}, False))

    def note(self, text: str) -> None:
        """In place of what there is not."""
        mark = {"type": "text", "text": text, "color": INK, "fontSize": 12}
        middle = {"x": {"value": {"expr": "width / 2"}}, "y": {"value": {"expr": "height / 2"}}}
        self.layers.append(({"data": {"values": [{}]}, "mark": mark, "encoding": middle}, False))

    def specification(self, colours: Mapping[str, str], name: str, *, size: tuple[float, float], titled: bool) -> Layer:
        """``name``: of what tells values, which no other panel has; ``titled``: whether the y axis has its title."""
        channels = {"x": self.x.encoding(self._found("x")), "y": self.y.encoding(self._found("y"), titled)}
        layers = [_filled(layer, channels, colours) for layer, below in self.layers if below]
        layers += self._series(channels)
        layers += [_filled(layer, channels, colours) for layer, below in self.layers if not below]
        layers += [self._pointed_at(channels, name)] if self.rows else []
        arms, looks = [each.arm for each in self.series], self._looks()
        found = [looks.index(each.look) for each in self.series]
        drawn = [each.look.colour or colours.get(each.arm, INK) for each in self.series]
        of_series = [
            {"calculate": f"{json.dumps(arms)}[datum.s]", "as": "arm"},
            {"calculate": f"{found}[datum.s]", "as": "look"},
            {"calculate": f"{json.dumps(drawn)}[datum.s]", "as": "colour"},
        ]
        hiding = [{"filter": {"not": HIDDEN}}] if colours else []
        frame = {"title": self.title, "width": size[0], "height": size[1]}
        data = {"data": {"values": self.rows}, "transform": [*of_series, *hiding]} if self.rows else {}
        empty = _filled({"data": {"values": []}, "mark": "point"}, channels, colours)
        return {**frame, **data, "layer": layers or [empty]}

    def _found(self, axis: str) -> list[float]:
        rows = [*self.rows, *(row for layer, _ in self.layers for row in layer["data"]["values"])]
        return [row[name] for row in rows for name in (axis, f"{axis}2") if row.get(name) is not None]

    def _looks(self) -> list[Look]:
        return list(dict.fromkeys(each.look for each in self.series))

    def _series(self, channels: Layer) -> list[Layer]:
        """A line layer and a point layer a look; triangles for what lies beyond the axis."""
        layers = []
        for number, look in enumerate(self._looks()):
            base = {"transform": [{"filter": f"datum.look === {number}"}]}
            encoding = _xy(channels) | (COLOURED if look.colour is None else {})
            fixed = {} if look.colour is None else {"color": look.colour}
            if look.width:
                mark = {"type": "line", "clip": True, "strokeWidth": look.width, "strokeDash": look.dash, **fixed}
                detail = {"detail": {"field": "s", "type": "nominal"}}
                layers.append({**base, "mark": mark, "encoding": encoding | detail})
            if look.marker:
                shown = {"transform": [{"filter": f"datum.look === {number} && !isValid(datum.o)"}]}
                layers.append({**shown, "mark": point(look) | fixed | {"clip": True}, "encoding": encoding})
        if any("t" in row for row in self.rows):
            edge = {"transform": [{"filter": "datum.t === 1"}]}
            mark = {"type": "point", "shape": "triangle-up", "size": 70, "filled": True}
            layers.append({**edge, "mark": mark, "encoding": _xy(channels) | COLOURED})
        return layers

    def _pointed_at(self, channels: Layer, name: str) -> Layer:
        """The point that is nearest to the pointer lights up, and tells its values."""
        names, at = json.dumps([each.name for each in self.series]), f"at_{name}"
        value = {"calculate": f"isValid(datum.o) ? {TOLD.format('datum.o')} : {TOLD.format('datum.y')}", "as": "up"}
        across = f"isValid(datum.a) ? {TOLD.format('datum.a')} : {TOLD.format('datum.x')}"
        inside = "isValid(datum.x) && isValid(datum.y)"
        if self.y.limits:
            inside += f" && datum.y >= {self.y.limits[0]}"
        # Told by the cells that Vega-Lite lays around points, so that the nearest answers; a cell's datum is a point.
        texts = {"title": "name", self.x.title or "at": "across", self.y.title or self.title: "up"}
        told = ", ".join(f"{json.dumps(title)}: (datum.datum || datum).{name}" for title, name in texts.items())
        return {
            "name": name,
            "params": [{"name": at, "select": {"type": "point", "on": "pointerover", "clear": "pointerout",
                                               "nearest": True}}],
            "transform": [
                {"filter": inside},
                {"calculate": f"{names}[datum.s]", "as": "name"},
                {"calculate": across, "as": "across"},
                value,
            ],
            "mark": {"type": "point", "filled": True, "size": 70, "stroke": "white", "strokeWidth": 1},
            "encoding": _xy(channels) | COLOURED | {
                "opacity": {"condition": {"param": at, "empty": False, "value": 1}, "value": 0},
                "tooltip": {"value": {"expr": f"{{{told}}}"}},
            },
        }  # fmt: skip


def _xy(channels: Layer) -> Layer:
    return {name: {"field": name, **channels[name]} for name in ("x", "y")}


def _filled(layer: Layer, channels: Layer, colours: Mapping[str, str]) -> Layer:
    """A layer whose channels x, y and colour are named by their fields alone, with all that belongs to these."""
    encoding: Layer = {}
    for name, each in layer.get("encoding", {"x": "x", "y": "y"}).items():
        if name in ("x", "y") and isinstance(each, str):
            encoding[name] = {"field": each, **channels[name]}
        elif name in ("x2", "y2"):
            encoding[name] = {"field": each}
        elif each == "arm":
            encoding |= COLOURED
        else:
            encoding[name] = each
    if "color" not in encoding or not colours:
        return {**layer, "encoding": encoding}
    of_arms = {arm: colours[arm] for arm in dict.fromkeys(row["arm"] for row in layer["data"]["values"])}
    coloured = {"calculate": f"{json.dumps(of_arms)}[datum.arm]", "as": "colour"}
    return {**layer, "transform": [coloured, {"filter": {"not": HIDDEN}}], "encoding": encoding}


def point(look: Look) -> Layer:
    """The mark of a look."""
    inside = {"filled": False, "fill": "white", "strokeWidth": 1.3} if look.open else {"filled": True}
    return {"type": "point", "shape": look.marker, "size": round(look.size**2, 1), **inside}


def short(value: float) -> float | int | None:
    """Six digits, which no eye tells from all of them; None for what is no number of JSON."""
    if not math.isfinite(value):
        return None
    rounded = float(f"{value:.6g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded
