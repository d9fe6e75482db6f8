"""Configurations: arms that differ by their seed alone, taken together with how far they lie apart.

Two spreads are told apart. Over documents: what another test split would have given these very networks. Over seeds:
what another start would have given. Of one arm there is only the first.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest

from unrolled.ground.bootstrap import Interval, bootstrap_interval, paired_bootstrap, with_spread
from unrolled.ground.evaluation import Evaluation, Resampling, Units, sums_of
from unrolled.ground.score import Score
from unrolled.report.arms import Arm
from unrolled.report.markdown import over_seeds

Row = dict[str, Any]


@dataclass(frozen=True)
class Configuration:
    """The arms of one arch and clipping, by seed, each with its row of the comparison."""

    name: str
    arms: Sequence[Arm]
    rows: Sequence[Row]

    @property
    def alive(self) -> list[Arm]:
        """Those whose scores say something: the survivors; where there is none, those not yet lost as they diverged."""
        pairs = list(zip(self.arms, self.rows, strict=True))
        return [arm for arm, row in pairs if survived(row)] or [arm for arm, row in pairs if not row["lost"]]

    @property
    def told(self) -> list[Arm]:
        """Those that are told of together; all where none is alive."""
        return self.alive or list(self.arms)

    @property
    def told_rows(self) -> list[Row]:
        names = {arm.name for arm in self.told}
        return [row for row in self.rows if row["arm"] in names]

    def told_over_seeds(self, values: Callable[[Arm], Iterable[float]], form: Callable[[float], str]) -> list[str]:
        """Of each of an arm's ``values`` the median over seeds, and the range."""
        return [over_seeds(each, form) for each in zip(*map(values, self.told), strict=True)]

    def mean(self, name: str) -> float | None:
        """Of a column the mean over those that are told of; None where one of them has nothing."""
        found = [row[name] for row in self.told_rows]
        if None in found:
            return None
        return found[0] if len(found) == 1 else float(np.mean(found))  # a count stays one

    def values(self, name: str) -> list[Any]:
        """A column of the comparison, a value a seed."""
        return [row[name] for row in self.rows]


def configurations(arms: Sequence[Arm], rows: Sequence[Row]) -> list[Configuration]:
    """In the order of the arms."""
    names = list(dict.fromkeys(arm.configuration for arm in arms))
    pairs = list(zip(arms, rows, strict=True))
    of = {name: [pair for pair in pairs if pair[0].configuration == name] for name in names}
    return [Configuration(name, [arm for arm, _ in each], [row for _, row in each]) for name, each in of.items()]


def summary(each: Configuration, scores: Sequence[Score], resampling: Resampling) -> Row:
    """Its row of scores over seeds: of each score the value of the survivors' terms together, interval and spread.

    ``<score>``: for a perplexity exp of the mean nats, so that it is the score of what paired differences compare.
    ``<score>_seeds``: the standard deviation of the seeds' scores; None where one seed stands alone. The interval is
    over documents and, of several seeds, over seeds as well.
    """
    main, told = scores[0], each.told
    row: Row = {"configuration": each.name, "arch": told[0].arch, "clipping": told[0].clipping}
    row |= {"seeds": len(each.arms)} | survival(each.rows, resampling.confidence)
    for score in scores:
        units = [arm.evaluation.units[score.name] for arm in told if score.name in arm.evaluation.units]
        found = [arm.evaluation.values[score.name] for arm in told if score.name in arm.evaluation.values]
        low, high = _interval(score, units, told[0].evaluation, resampling) if units else (None, None)
        value = score.of(sums_of(_together(units))) if len(units) > 1 else next(iter(found), None)
        row |= {score.name: value, f"{score.name}_low": low, f"{score.name}_high": high}
        row[f"{score.name}_seeds"] = spread(found)
    valid = [sums[main.name] for arm in told if (sums := arm.run.valid())]
    means = [each.sum / each.terms for each in valid]
    row[f"{main.name}_valid"] = main.value(float(np.mean(means)), 1) if means else None
    row[f"{main.name}_valid_seeds"] = spread(main.of(each) for each in valid)
    return row


def survived(row: Row) -> bool:
    """It trained to its end, and ended better than a model that learns nothing."""
    return not row["lost"] and row["status"] != "diverged"


def survival(rows: Sequence[Row], confidence: float) -> Row:
    """How many seeds survived, as a share with its interval too, and how many exploded, came back, or diverged."""
    exploded = [row for row in rows if row["first_explosion"] is not None]
    count = sum(map(survived, rows))
    low, high = share_interval(count, len(rows), confidence)
    return {
        "survived": count,
        "survival": count / len(rows),
        "survival_low": low,
        "survival_high": high,
        "exploded": len(exploded),
        "came_back": sum(row["came_back"] for row in exploded),
        "diverged": sum(row["status"] == "diverged" for row in rows),
    }


def share_interval(count: int, of: int, confidence: float) -> Interval:
    """Of the probability behind ``count`` successes in ``of`` trials, exact (Clopper & Pearson 1934)."""
    found = binomtest(count, of).proportion_ci(confidence)
    return Interval(float(found.low), float(found.high))


def spread(values: Iterable[float]) -> float | None:
    """The standard deviation (n - 1) of what several seeds reached; None of one, nan where one is not finite."""
    found = list(values)
    if len(found) < 2:
        return None
    return float(np.std(found, ddof=1)) if all(map(math.isfinite, found)) else math.nan


def middle(values: Iterable[float | None]) -> float | None:
    """The median of what is there, the lower of two; nan counts as the largest, and None where nothing is there."""
    found = sorted((value for value in values if value is not None), key=lambda value: (math.isnan(value), value))
    return found[(len(found) - 1) // 2] if found else None


def difference(
    a: Configuration, other: str, b: Configuration | Evaluation, score: Score, resampling: Resampling
) -> Row:
    """Configuration a minus b on the same units: of the seeds that are alive in both, each from its own twin.

    No more than who they are where there is none. ``b`` an evaluation: a baseline's, for every seed.
    """
    seeds = _common(a.alive, b)
    row: Row = {"arm": a.name, "minus": other, "score": score.name, "seeds": seeds}
    if not seeds:
        return row
    first = {arm.seed: arm.evaluation for arm in a.arms}
    second = dict.fromkeys(seeds, b) if isinstance(b, Evaluation) else {arm.seed: arm.evaluation for arm in b.arms}
    pairs = [(first[seed].units[score.name], second[seed].units[score.name]) for seed in seeds]
    by_seed = [_mean(first) - _mean(second) for first, second in pairs]
    mine, theirs = (_together([pair[place] for pair in pairs]) for place in (0, 1))
    paired = paired_bootstrap(mine, theirs, a.arms[0].evaluation.clusters, **resampling._asdict())
    low, high = with_spread(paired.interval, by_seed, resampling.confidence)
    row |= {"difference": paired.difference, "difference_low": low, "difference_high": high}
    return row | {"difference_seeds": spread(by_seed), "terms": len(pairs[0][0])}


def _common(arms: Sequence[Arm], b: Configuration | Evaluation) -> list[int]:
    """Of the arms' seeds those that are alive in b."""
    if isinstance(b, Evaluation):
        return [arm.seed for arm in arms]
    others = {arm.seed for arm in b.alive}
    return [arm.seed for arm in arms if arm.seed in others]


def _interval(score: Score, units: Sequence[Units], of: Evaluation, resampling: Resampling) -> Interval:
    if len(units) == 1:
        return of.intervals[score.name]
    low, high = with_spread(
        bootstrap_interval(_together(units), of.clusters, **resampling._asdict()),
        [_mean(each) for each in units],
        resampling.confidence,
    )
    within = (min(max(each, score.least), score.most) for each in (low, high))  # Student's ends know of no bounds
    return Interval(*(score.value(each, 1) for each in within))


def _together(units: Sequence[Units]) -> Units:
    """The mean over seeds of each unit, [N]."""
    return units[0] if len(units) == 1 else np.mean([each.astype(np.float64) for each in units], axis=0)


def _mean(units: Units) -> float:
    total, terms = sums_of(units)
    return total / terms
