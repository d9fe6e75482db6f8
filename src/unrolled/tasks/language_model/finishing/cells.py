"""How what arms said reads in a table: of one seed with its interval, of several the median and the range."""

import math
from collections.abc import Callable, Sequence

from unrolled.report.arms import Arm

Form = Callable[[float], str]


def heard(arms: Sequence[Arm], name: str) -> list[Arm]:
    """Those that said something, which table ``name`` tells of."""
    return [arm for arm in arms if name in arm.evaluation.tables]


def with_ends(value: float, low: float, high: float, form: Form) -> str:
    if not math.isfinite(value):
        return or_none(form)(value)
    return form(value) if math.isnan(low) else f"{form(value)} [{form(low)}, {form(high)}]"


def or_none(form: Form) -> Form:
    return lambda value: "none" if math.isnan(value) else "infinite" if math.isinf(value) else form(value)
