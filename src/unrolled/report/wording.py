"""What the report says of a task beyond its scores; apart from those, so that a word re-runs no training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Wording:
    """What the report says of a task beyond its scores: `WORDING` in the task's report.py.

    ``baselines``: models without recurrence, by name, as tables and figures call them. Those of ``measured`` stand
    among the measures of every evaluation, {name: measure}; of the others each has an evaluation of its own,
    baselines/<name>. ``chance``: the one of ``measured`` that an arm must come near to have learned anything.
    ``measures``: those that stand beside the variants, {measure: heading}.
    ``notes``: sentences under the tables of "scores", "variants", "gradients", "phenomena" and "pairs"; what stands in
    braces is a key of the section evaluate. ``figures``: {name: (title, how to read it)} where the report's own words
    do not do. ``samples``: what arms write, {arm: {how it was drawn: text}, or why it writes nothing}, introduced by
    ``about_samples``.
    """

    title: str  # of the page: "Recurrent language models"
    loss: str = "loss"  # of a training step, with its unit
    cluster: str = "document"  # what the units of the test split come in, and what intervals resample
    baselines: Mapping[str, str] = field(default_factory=dict)
    measured: Mapping[str, str] = field(default_factory=dict)
    chance: str | None = None
    measures: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    samples: Callable[[Sequence[str]], Mapping[str, Mapping[str, str] | str]] | None = None
    about_samples: str = ""
