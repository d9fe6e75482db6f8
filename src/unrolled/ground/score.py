"""What a score is: declared once by its task, and named, drawn, compared and published from that declaration."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Sums(NamedTuple):
    """A summed loss, or count, and the number of terms in the sum; divided once, at the end."""

    sum: float
    terms: int


@dataclass(frozen=True)
class Score:
    """A number that a model is judged by, and how the sums over a split become it.

    ``value(sum, terms)`` is the number itself; ``heading`` what a table calls it. ``column``: the table of the report
    it stands in, "main", "variant" for the same models evaluated in another way, or one of the task's own. ``note``:
    what a reader has to know of it, a few words beside the heading in the main table, a clause of its own below that of
    the variants.

    ``least`` and ``most``: between which the mean of the terms must lie.

    Two models are compared by the mean difference of their terms. ``summed`` names what a term is measured in where
    that is not the score itself ("nats"), ``ratio`` the exponential of such a difference where that is the quotient of
    the two scores ("perplexity ratio"): a score that has one is drawn on a logarithmic axis.
    """

    name: str  # in files, DVC metrics and MLflow
    heading: str
    unit: str  # of what each term is one: "token"
    value: Callable[[float, int], float]
    lower_is_better: bool = True
    least: float = 0.0
    most: float = math.inf
    note: str = ""
    column: str = "main"
    summed: str = ""
    ratio: str = ""

    @property
    def label(self) -> str:
        """Its name in a sentence."""
        return self.name.replace("_", " ")

    @property
    def difference(self) -> str:
        """What a paired difference is called: nats per token."""
        return f"{self.summed} per {self.unit}" if self.summed else self.heading

    @property
    def worst(self) -> float:
        """Of a model that never came to be scored."""
        return math.inf if self.lower_is_better else -math.inf

    def better(self, value: float, than: float) -> bool:
        """False for nan."""
        return value < than if self.lower_is_better else value > than

    def of(self, sums: Sums) -> float:
        return self.value(sums.sum, sums.terms)


def by_name(scores: Sequence[Score]) -> Mapping[str, Score]:
    return {score.name: score for score in scores}
