"""What the report says of a task beyond its scores; apart from those, so that a word re-runs no training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Wording:
    """What the report says of a task beyond its scores: `WORDING` in the task's report.py.

    ``baselines``: models without recurrence, by name, as tables and figures call them. Those of ``measured`` stand
    among the measures of every evaluation, {name: measure}, and what stands beside them as <name>_<measure>; each of
    the others has an evaluation of its own, baselines/<name>. ``chance``: the one of ``measured`` that an arm must come
    near to have learned anything. ``judged``: which score tells of a run, by its settings, that it learned something;
    None: the first. ``of_text``: measures of the test text alone, the same for every model: {measure: (heading,
    format)}; ``beside``: of a model, {measure: heading}. Both stand beside the scores; ``measures``, {measure:
    heading}, beside the variants. ``metrics``: measures that `dvc metrics` shows beyond ``beside``.
    ``notes``: sentences under the tables of "scores", "variants", "gradients", "phenomena" and "pairs"; what stands in
    braces is a key of the section evaluate. ``figures``: {name: (title, how to read it)} where the report's own words
    do not do. ``samples``: what arms write, {arm: {how it was drawn: text}, or why it writes nothing}, introduced by
    ``about_samples``.

    What a task shows beside all that: ``tables``, (arms) -> {name: a data frame}, files in report/plots; ``sections``,
    (comparison) -> sections of the page; ``pictures``, (how each arm is drawn, comparison) -> {name: what draws it},
    each with a table of the same name, and with its words in ``figures``; ``ensemble``, (arms that differ by their
    seed) -> {measure: value} of their answers taken together, which `dvc metrics` shows.
    """

    title: str  # of the page: "Recurrent language models"
    loss: str = "loss"  # of a training step, with its unit
    cluster: str = "document"  # what the units of the test split come in, and what intervals resample
    baselines: Mapping[str, str] = field(default_factory=dict)
    measured: Mapping[str, str] = field(default_factory=dict)
    chance: str | None = None
    of_text: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    beside: Mapping[str, str] = field(default_factory=dict)
    measures: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[str] = ()
    judged: Callable[[Mapping[str, Any]], str] | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    samples: Callable[[Sequence[str]], Mapping[str, Mapping[str, str] | str]] | None = None
    about_samples: str = ""
    tables: Callable[[Sequence[Any]], Mapping[str, Any]] = lambda arms: {}
    sections: Callable[[Any], Sequence[Any]] = lambda comparison: ()
    pictures: Callable[[Sequence[Any], Any], Mapping[str, Callable[[], Any]]] = lambda lines, comparison: {}
    ensemble: Callable[[Sequence[Any]], Mapping[str, float]] = lambda arms: {}

    def beside_baselines(
        self, of_arm: Mapping[str, float], scored: Mapping[str, Mapping[str, float]]
    ) -> dict[str, dict[str, float]]:
        """What stands beside each baseline's score; measures ``of_arm``, any one, and of baselines ``scored`` apart."""
        of_text = {name: of_arm[name] for name in self.of_text if name in of_arm}
        shown = (*self.of_text, *self.beside)
        own = {name: {each: of[each] for each in shown if each in of} for name, of in scored.items()}
        yardsticks = {
            name: of_text | {each: of_arm[f"{name}_{each}"] for each in self.beside if f"{name}_{each}" in of_arm}
            for name in self.measured
        }
        return yardsticks | own
