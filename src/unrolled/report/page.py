"""report/index.html: the whole comparison on one page that needs no network, for a reader who has no other file."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from unrolled.corpus.folders import whole_text
from unrolled.errors import UserError
from unrolled.lab.trained import Trained
from unrolled.report.comparison import Comparison
from unrolled.report.tables import Table, sections
from unrolled.settings import Settings

SAMPLE_TOKENS, PROMPT_WORDS, SEED = 40, 4, 1
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "temperature 0.5": {"temperature": 0.5},
    "temperature 1": {},
    "40 likeliest": {"top_k": 40},
    "nucleus 0.9": {"nucleus": 0.9},
}
# Figure -> its title and how to read it; the table behind it has the same name.
FIGURES = {
    "learning_rates": (
        "Learning rate and clipping",
        "Validation perplexity of each learning rate with each threshold. White: it diverged, or predicts more than "
        "twice as badly as the words' frequencies do. Compare each column at its own best: what clipping buys is the "
        "rates that survive.",
    ),
    "depths": (
        "Depth",
        "The norm of one loss' gradient at each layer, dotted before training. Where it falls towards the lowest "
        "layer, that layer learns nothing; a connection past the layers carries it down.",
    ),
    "perplexity": (
        "Perplexity by epoch",
        "Perplexity is the number of equally likely words that the network is, in effect, undecided between: exp of "
        "the mean cross entropy. A curve that jumps to the upper edge is an arm that exploded.",
    ),
    "grad_norm": (
        "Gradient norm before clipping",
        "Each point is the largest norm of a stretch of steps, so that no explosion is averaged away. Where a solid "
        "line stays above the threshold every step was clipped: the gradient gave the direction, clip_norm the length.",
    ),
    "clipped_share": (
        "Share of clipped steps",
        "1: clipping acts at every step, as a normalised gradient; near 0: only against rare spikes.",
    ),
    "lag_profile": (
        "How far back one loss reaches",
        "The norm of dL/dh at each distance back from a single loss. A straight line down is exponential decay: the "
        "vanishing gradient. What stands flat further back is memory that learning can use.",
    ),
    "context": (
        "How much context is made use of",
        "Left: the test split again, but the network starts anew so many tokens before each word it predicts. Where "
        "the curve is flat, what lies further back changes nothing. Right, for comparison: how far back the gradient "
        "of one loss reaches, by which it could have learnt to use more.",
    ),
    "lag_training": (
        "Before, halfway and after",
        "The same norms by distance, of the untrained network, in the middle of training and at its end: training "
        "stretches the reach where the cell lets it.",
    ),
    "exponents": (
        "Why: the Lyapunov exponents",
        "By what power of e a time step makes a gradient grow along a real text, direction by direction. All below "
        "zero: gradients vanish, some faster than others. One above zero: they explode, and so does any small "
        "difference between two states.",
    ),
    "spectra": (
        "Why: the recurrent weights",
        "Spectral radius and largest singular value of the recurrent matrix (of the gate where it is largest). The "
        "gradient of a tanh network can only explode where the singular value exceeds 1, the dashed line.",
    ),
    "saturation": (
        "What the gates do",
        "In how many of the time steps a unit stands within a tenth of its range's upper end (upwards) or lower end "
        "(downwards): there it passes hardly any gradient to what drives it.",
    ),
    "time_constants": (
        "How long the gates hold",
        "After how many steps a unit has forgotten all but 1/e of what it held, if its forget gate stood at its mean: "
        "a few units hold on for long, and so carry the gradient further than the recurrent matrix could.",
    ),
    "explosion": (
        "The first explosion, step by step",
        "Twins start from the same weights and see the same words. The step after the norm has jumped is the one that "
        "throws the unclipped arm out of the valley.",
    ),
    "cliff": (
        "The cliff",
        "The weights as they stood before the first step whose gradient exploded, moved down that gradient: near by "
        "the loss falls, further on it rises like a wall. A dot is where the step landed, learning rate times "
        "the norm; an open one, where its clipped twin would have from the same weights.",
    ),
    "profile": (
        "The gradient that training sees",
        "The norm of dL/dh by time step when all losses of a window are summed. A plain training shows only this, in "
        "which near losses hide that the far ones add next to nothing.",
    ),
    "addends": (
        "A shared weight's gradient is a sum",
        "Every time step adds its part to the gradient of the one recurrent matrix. Where the norm of the sum is far "
        "below the sum of the norms, the steps pull in different directions.",
    ),
}


class Sample(NamedTuple):
    """Texts of an arm by the way they were drawn, or why there is none."""

    arm: str
    texts: dict[str, str]
    refusal: str


def write(comparison: Comparison, folder: Path, samples: Sequence[Sample], corpus: Mapping[str, Any]) -> None:
    """index.html in ``folder``, from the comparison and the figures and plots that stand there; the same bytes again.

    corpus: the report of the vocabulary stage.
    """
    environment = Environment(
        loader=PackageLoader("unrolled.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    figures = [
        (name, title, reading, _inline(folder / "figures" / f"{name}.svg"), _data(folder / "plots" / f"{name}.csv"))
        for name, (title, reading) in FIGURES.items()
        if (folder / "figures" / f"{name}.svg").is_file()  # a sweep's only where the grid sweeps
    ]
    whole_text(
        folder / "index.html",
        environment.get_template("page.html.jinja").render(
            corpus=corpus,
            sections=sections(comparison),
            figures=figures,
            overview=_inline(folder / "figures" / "overview.svg"),
            samples=samples,
            ways=list(WAYS),
            settings=_settings(comparison.arms),
        ),
    )


def drawn(arms: Sequence[str], opening: str, workspace: Path = Path()) -> list[Sample]:
    """What each arm writes, in every way of drawing, after the first words of ``opening``'s first long line."""
    long = [words for words in map(str.split, opening.splitlines()) if len(words) > PROMPT_WORDS]
    prompt = " ".join(long[0][:PROMPT_WORDS] if long else [])
    samples = []
    for arm in arms:
        try:
            trained = Trained.read(arm, workspace)
            texts = {
                way: trained.continued(prompt, length=SAMPLE_TOKENS, samples=1, seed=SEED, **options)[0]
                for way, options in WAYS.items()
            }
            samples.append(Sample(arm, texts, ""))
        except UserError as error:  # a BiLSTM, or an arm that exploded
            samples.append(Sample(arm, {}, str(error).removeprefix(f"{arm}: ")))
    return samples


def _settings(arms: Sequence[Settings]) -> Table:
    """A row a setting of the network or the training, a column an arm; one column where all agree."""
    rows = []
    for section in ("network", "train"):
        for key in getattr(arms[0], section).model_dump():
            found = [getattr(getattr(arm, section), key) for arm in arms]
            values = ["none" if value is None else str(value) for value in found]
            if len(set(values)) == 1:
                values[1:] = [""] * (len(arms) - 1)
            rows.append([f"{section}.{key}", *values])
    return ["setting", *(str(arm.arm) for arm in arms)], rows


def _inline(path: Path) -> str:
    """A picture's address that holds the picture."""
    return f"data:image/svg+xml;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _data(path: Path) -> str:
    return f"data:text/csv;base64,{base64.b64encode(path.read_bytes()).decode()}"
