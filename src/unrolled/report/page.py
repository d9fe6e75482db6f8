"""report/index.html: the whole comparison on one page that needs no network, for a reader who has no other file."""

import base64
import json
import re
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined

from unrolled.ground.atomic import whole_text
from unrolled.report.comparison import Comparison
from unrolled.report.sections import Table, sections

# Figure -> its title and how to read it; the table behind it has the same name. A task may have words of its own.
FIGURES = {
    "learning_rates": (
        "Learning rate and clipping",
        "The validation score of each learning rate with each threshold. White: training diverged, or learned next to "
        "nothing. Compare the columns each at its own best: what clipping buys is the rates that survive.",
    ),
    "depths": (
        "Depth",
        "The gradient norm of a single loss at each layer, dotted before training. Where it falls towards the lowest "
        "layer, that layer learns nothing; a connection that bypasses the layers carries it down.",
    ),
    "score": (
        "The score by epoch",
        "On the validation split. A curve that jumps to the edge of the axis is an arm that exploded.",
    ),
    "grad_norm": (
        "Gradient norm before clipping",
        "Each point is the largest norm of a stretch of steps, so no explosion is averaged away. Where a solid line "
        "stays above the threshold, every step was clipped: the gradient set the direction, clip_norm the length.",
    ),
    "clipped_share": (
        "Share of clipped steps",
        "At 100% clipping acts on every step, and gradient descent becomes normalised; near 0% it only cuts off rare "
        "spikes.",
    ),
    "lag_profile": (
        "How far back one loss reaches",
        "The norm of dL/dh by distance back from a single loss. A straight line down is exponential decay: the "
        "vanishing gradient. Where the curve stays flat further back, there is memory that learning can use.",
    ),
    "context": (
        "How much context the networks use",
        "Left: the test split again, but with the state reset so many inputs before each prediction. Where the curve "
        "is flat, what lies further back makes no difference. Right, for comparison: how far back the gradient of one "
        "loss reaches, and so how much context training could have taught the network to use.",
    ),
    "lag_training": (
        "Before, halfway and after",
        "The same norms by distance for the untrained network, halfway through training and at its end: training "
        "extends the reach as far as the cell allows.",
    ),
    "exponents": (
        "Why: the Lyapunov exponents",
        "The rate, in powers of e per time step, at which a perturbation of the state grows along real data, direction "
        "by direction. All below zero: gradients vanish, some faster than others. One above zero: they explode, and so "
        "does any small difference between two states.",
    ),
    "spectra": (
        "Why: the recurrent weights",
        "Spectral radius and largest singular value of the recurrent matrix (for the gate where they are largest). The "
        "gradient of a tanh network can explode only where the singular value exceeds 1, the dashed line.",
    ),
    "saturation": (
        "What the gates do",
        "The share of time steps in which a unit is within a tenth of the upper end (upwards) or lower end (downwards) "
        "of its range: there it passes on hardly any gradient.",
    ),
    "time_constants": (
        "How long the gates hold",
        "The number of time steps after which a unit has forgotten all but 1/e of what it held, if its forget gate "
        "stayed at its mean. A few units hold on for long, and carry the gradient further than the recurrent matrix "
        "could.",
    ),
    "explosion": (
        "The first explosion, step by step",
        "Twins start from the same weights and see the same data. The step taken with the first exploding gradient is "
        "the one that throws the unclipped arm out of the valley.",
    ),
    "cliff": (
        "The cliff",
        "The weights just before the first step whose gradient exploded, moved down that gradient: nearby the loss "
        "falls, further on it rises like a wall. A filled dot marks where the step landed, at the learning rate times "
        "the norm; an open dot, where its clipped twin would have landed from the same weights.",
    ),
    "profile": (
        "The gradient that training sees",
        "The norm of dL/dh by time step when all losses of a window are summed. Training itself sees only this sum, in "
        "which the near losses hide how little the distant ones contribute.",
    ),
    "addends": (
        "A shared weight's gradient is a sum",
        "Every time step contributes a term to the gradient of the one recurrent matrix. Where the norm of the sum is "
        "far below the sum of the norms, the steps pull in different directions.",
    ),
}


def write(
    comparison: Comparison, folder: Path, samples: Mapping[str, Mapping[str, str] | str], corpus: Mapping[str, Any]
) -> None:
    """index.html in ``folder``, from the comparison and the figures and plots that stand there; the same bytes again.

    samples: what arms write, as the task's wording has it; corpus: the report of the vocabulary stage.
    """
    environment = Environment(
        loader=PackageLoader("unrolled.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    pictures = folder / "figures"
    figures = [
        (name, title, reading, still(pictures / f"{name}.svg"), packed(pictures / f"{name}.json"),
         packed(folder / "plots" / f"{name}.csv"))
        for name, (title, reading) in {**FIGURES, **comparison.wording.figures}.items()
        if (pictures / f"{name}.svg").is_file()  # a sweep's only where the grid sweeps
    ]  # fmt: skip
    whole_text(
        folder / "index.html",
        environment.get_template("page.html.jinja").render(
            title=comparison.wording.title,
            heading=comparison.main.heading,
            corpus=corpus,
            sections=sections(comparison),
            figures=figures,
            overview=still(pictures / "overview.svg"),
            live_overview=packed(pictures / "overview.json"),
            scripts=scripts(),
            about_samples=comparison.wording.about_samples,
            samples=samples,
            settings=_settings(comparison),
        ),
    )


def _settings(comparison: Comparison) -> Table:
    """A row a setting as params.yaml has it, a column a configuration; one value where all agree."""
    arms = [each.arms[0] for each in comparison.configurations]
    seeds = sorted({arm.seed for arm in comparison.arms})
    rows = [["seeds", json.dumps(seeds), *[""] * (len(arms) - 1)]]
    for section in ("network", "train"):
        for key in (key for key in arms[0].run.settings[section] if key != "seed"):
            found = [arm.run.settings[section].get(key) for arm in arms]
            values = [value if isinstance(value, str) else json.dumps(value) for value in found]
            if len(set(values)) == 1:
                values[1:] = [""] * (len(arms) - 1)
            rows.append([f"{section}.{key}", *values])
    return ["setting", *(arm.configuration for arm in arms)], rows


def still(path: Path) -> str:
    """A picture's address that holds the picture, to stand between double quotes; base64 would take a third more."""
    svg = re.sub('"(?=[^<>]*>)', "'", path.read_text(encoding="utf-8"))  # of attributes
    return "data:image/svg+xml," + quote(svg, safe=" <>='/,:;()+")


def packed(path: Path) -> str:
    """What the page's script alone reads, in a fraction of the letters: deflated, in base64."""
    return base64.b64encode(zlib.compress(path.read_bytes(), 9)).decode()


@cache
def scripts() -> str:
    """Vega, Vega-Lite and Vega-Embed, as `window.vegaEmbed`."""
    # A closing tag within the script would end it.
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")
