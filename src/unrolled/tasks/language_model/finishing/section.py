"""Finishing the sentence: what the report says of arms that go on from words of their own."""

from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from unrolled.report.arms import Arm
from unrolled.report.comparison import Comparison
from unrolled.report.sections import Section
from unrolled.report.seeds import Configuration
from unrolled.tasks.language_model.finishing import lines, sentences
from unrolled.tasks.language_model.finishing.cells import heard

TITLE = "Finishing the sentence"
TABLES = ("own_sentences", "own_by_place", "own_by_distance", "own_lines")


def tables(arms: Sequence[Arm]) -> dict[str, pd.DataFrame]:
    """Of the arms that were heard, one below the other."""
    found = {}
    for name in TABLES:
        if frames := [arm.evaluation.tables[name].assign(arm=arm.name) for arm in heard(arms, name)]:
            found[name] = pd.concat(frames, ignore_index=True)
    return found


def sections(comparison: Comparison) -> list[Section]:
    """Nothing where no arm said anything."""
    every = comparison.configurations
    made_up, real = ([each for each in every if heard(each.told, name)] for name in ("own_sentences", "own_lines"))
    silent = list(_silent(each for each in every if each not in [*made_up, *real]))
    if made_up:
        return [Section(TITLE, sentences.shown(made_up), [*sentences.meaning(made_up), *silent])]
    if real:
        return [Section(TITLE, [lines.shown(real)], [lines.meaning(comparison, real), *silent])]
    return []


def _silent(absent: Iterable[Configuration]) -> Iterator[str]:
    """Of whom nothing is told, and why."""
    names: dict[bool, list[str]] = {True: [], False: []}
    for each in absent:
        names[bool(each.arms[0].run.settings["network"]["bidirectional"])].append(each.name)
    if names[True]:
        yield f"Not measured: {', '.join(names[True])}, as a bidirectional network has no next word to say."
    if names[False]:
        yield f"Not measured: {', '.join(names[False])}, as no better than a unigram model, or without a number to say."
