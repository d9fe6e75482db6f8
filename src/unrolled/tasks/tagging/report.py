"""What the report says of a tagger beyond its scores: by tag, by pair of tags, by what stands to a word's right."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from unrolled.report import targets
from unrolled.report.arms import Arm, evaluated, stacked
from unrolled.report.chart import Chart
from unrolled.report.comparison import Comparison
from unrolled.report.drawing import LEVEL, Line, draw, panels, row
from unrolled.report.panel import INK, Panel, Series
from unrolled.report.sections import Section, Table
from unrolled.report.seeds import Configuration
from unrolled.report.wording import Wording

PARTS = {  # tables of accuracy by part: by what, and the heading of its column
    "word": "words",
    "right": "words to the right",
    "position": "place in the sentence",
    "frequency": "times in training",
    "length": "words in the sentence",
}
PAIRS = 10  # of tags that are confused, shown
PUBLISHED = (
    "For comparison: of 38 settings of a BiLSTM tagger trained with Adam on 500 sentences of the Wall Street Journal, "
    "10 collapsed (less than half of the words right) without clipping, and none with a threshold from 1 to 10 on the "
    "norm (Reimers & Gurevych 2017, the runs published with their code). Clipping mends collapses rather than medians."
)


def tables(arms: Sequence[Arm]) -> dict[str, pd.DataFrame]:
    """Of all arms: accuracy by words to the right (3: three and more), reliability, the pairs of tags confused, and the
    gradient by distance from the words that need their sentence most."""
    return {
        "right": stacked(arms, _right),
        "calibration": evaluated(arms, "calibration"),
        "confusion": evaluated(arms, "confusion"),
        "targets": targets.lags(arms),
    }


def _right(arm: Arm) -> pd.DataFrame:
    frame = _parts(arm, "right")
    return pd.DataFrame({"right": range(len(frame)), "accuracy": frame["accuracy"].to_numpy()})


def _parts(arm: Arm, by: str) -> pd.DataFrame:
    frame = arm.evaluation.tables["parts"]
    return frame[frame["by"] == by].astype({"part": str})


# ---- sections --------------------------------------------------------------------------------------------------------


def sections(comparison: Comparison) -> list[Section]:
    every = comparison.configurations
    best = _best(comparison)
    chunks = [_chunks(every)] if "chunks" in best.evaluation.tables else []
    return [
        Section("What both sides of a word are worth", [_by(every, "right")], [*_lessons(comparison), PUBLISHED]),
        Section(
            "Known and rare words, beginnings and long sentences",
            [_by(every, by) for by in PARTS if by != "right"],
            ["Accuracy in percent; in brackets its interval over sentences, of several seeds the lowest and highest."],
        ),
        *(Section("Chunks", [table], ["F1 in percent, as conlleval reads chunks."]) for table in chunks),
        Section("Each tag", [_by_tag(every)], ["F1: the harmonic mean of precision and recall, in percent."]),
        Section(
            "Tags that are confused",
            [_confused(best)],
            [f"The most frequent pairs of {best.name}, each with the word that it happens to most often."],
        ),
    ]


def _best(comparison: Comparison) -> Arm:
    """By the validation split, so that the choice knows nothing of what is shown of it."""
    name = f"{comparison.main.name}_valid"
    reached = {row["arm"]: row[name] for row in comparison.rows}
    return max(comparison.arms, key=lambda arm: -np.inf if reached[arm.name] is None else reached[arm.name])


def _lessons(comparison: Comparison) -> list[str]:
    """What this run says of direction, memory and collapses; nothing of what its grid does not hold."""
    said = ["A tagger may read the whole sentence: the tag that it is to predict is no input."]
    main = comparison.main.name
    kinds = {kind: _mean(comparison, main, *kind) for kind in (("rnn", False), ("lstm", False), ("lstm", True))}
    rnn, lstm, both = kinds.values()
    if lstm is not None and both is not None:
        said.append(f"Reading the right side too is worth {both - lstm:+.2f} points of accuracy to an LSTM.")
        if rnn is not None:
            said.append(
                f"To have an LSTM in the place of a tanh RNN is worth {lstm - rnn:+.2f}: tagging needs the right side "
                "more than memory, and the ranking of language models does not carry over."
                if both - lstm > lstm - rnn
                else f"To have an LSTM in the place of a tanh RNN is worth {lstm - rnn:+.2f}."
            )
        gains = [
            (name, _mean_part(comparison, place, True) - _mean_part(comparison, place, False))
            for place, name in enumerate(("none stands", "one word stands", "two words stand", "three or more stand"))
        ]
        gained = ", ".join(f"{gain:+.2f} where {name}" for name, gain in gains if np.isfinite(gain))
        said.append(f"By the words that stand to the right: {gained}.")
    for clipping in dict.fromkeys(arm.clipping for arm in comparison.arms):
        mine = [row for row in comparison.rows if row["clipping"] == clipping]
        said.append(
            f"Of {len(mine)} {clipping} trainings {sum(row['lost'] for row in mine)} ended below the most frequent tag."
        )
    return [" ".join(said)]


def _mean(comparison: Comparison, score: str, cell: str, bidirectional: bool) -> float | None:
    """Over the arms of this kind, whatever else they differ by; None where there is none."""
    mine = [arm.evaluation.values[score] for arm in comparison.arms if _is(arm, cell, bidirectional)]
    return float(np.mean(mine)) if mine else None


def _mean_part(comparison: Comparison, place: int, bidirectional: bool) -> float:
    found = [_right(arm)["accuracy"] for arm in comparison.arms if _is(arm, "lstm", bidirectional)]
    return float(np.mean([each.iloc[place] if place < len(each) else np.nan for each in found]))


def _is(arm: Arm, cell: str, bidirectional: bool) -> bool:
    network = arm.run.settings["network"]
    return bool(network["cell"] == cell and network["bidirectional"] == bidirectional)


def _by(every: Sequence[Configuration], by: str) -> Table:
    first = _parts(every[0].told[0], by)
    headings = [f"{part} ({words:,})" for part, words in first[["part", "words"]].itertuples(index=False)]
    return [f"accuracy by {PARTS[by]}", *headings], [[each.name, *_accuracies(each, by)] for each in every]


def _accuracies(each: Configuration, by: str) -> list[str]:
    if len(each.told) > 1:
        return each.told_over_seeds(lambda arm: _parts(arm, by)["accuracy"], "{:.2f}".format)
    figures = _parts(each.told[0], by)[["accuracy", "low", "high"]].to_numpy(dtype=float)
    return [f"{mean:.2f}" + (f" ({low:.1f} to {high:.1f})" if np.isfinite(low) else "") for mean, low, high in figures]


def _by_tag(every: Sequence[Configuration]) -> Table:
    tables = (arm.evaluation.tables["per_tag"] for each in every for arm in each.told)
    support = {tag: int(n) for each in tables for tag, n in zip(each["tag"], each["support"], strict=True)}
    tags = sorted(support, key=lambda tag: (-support[tag], tag))
    headings = ["tag", "test words", *(f"F1, {each.name}" for each in every)]
    return headings, _f1_by(every, "per_tag", "tag", tags, support, "{:.1f}")


def _f1_by(
    every: Sequence[Configuration], table: str, key: str, names: Sequence[str], support: Mapping[str, int], form: str
) -> list[list[str]]:
    """A row for each of ``names``, which a column ``key`` of the table holds: how many there are, and F1."""

    def f1(arm: Arm) -> list[float]:
        frame = arm.evaluation.tables[table]
        of = dict(zip(frame[key].astype(str), frame["f1"].tolist(), strict=True))
        return [of.get(name, 0.0) for name in names]

    columns = [each.told_over_seeds(f1, form.format) for each in every]
    return [[name, f"{support[name]:,}", *row] for name, row in zip(names, zip(*columns, strict=True), strict=True)]


def _confused(arm: Arm) -> Table:
    pairs = arm.evaluation.tables["confusion"].head(PAIRS)
    return (
        ["right tag", "predicted", "words", "for example"],
        [[str(each.gold), str(each.predicted), f"{each.words:,}", str(each.example)] for each in pairs.itertuples()],
    )


def _chunks(every: Sequence[Configuration]) -> Table:
    table = every[0].told[0].evaluation.tables["chunks"]
    support = {str(kind): int(count) for kind, count in table[["type", "support"]].itertuples(index=False) if count}
    headings = ["chunks", "in the test split", *(f"F1, {each.name}" for each in every)]
    return headings, _f1_by(every, "chunks", "type", list(support), support, "{:.2f}")


# ---- pictures --------------------------------------------------------------------------------------------------------


def pictures(lines: Sequence[Line], comparison: Comparison) -> Mapping[str, Callable[[], Chart]]:
    return {
        "right": lambda: row([partial(_draw_right, lines, comparison)], lines),
        "calibration": lambda: row([partial(_draw_calibration, lines, comparison)], lines),
        "confusion": lambda: Chart(panels([partial(_draw_confusion, _best(comparison))]), size=(520, 520)),
        **({"targets": lambda: targets.picture(lines, lags)} if len(lags := comparison.tables["targets"]) else {}),
    }


def _draw_right(lines: Sequence[Line], comparison: Comparison, panel: Panel) -> None:
    panel.set("Accuracy by what stands to the right", "words to the right", "accuracy, %")
    table = comparison.tables["right"]
    panel.x.ticks, panel.x.labels = range(4), ["0", "1", "2", "3+"]
    for line in reversed(lines):
        mine = table[table["arm"] == line.arm]
        draw(panel, line, mine["right"], mine["accuracy"], marker="circle")


def _draw_calibration(lines: Sequence[Line], comparison: Comparison, panel: Panel) -> None:
    panel.set("How sure, and how often right", "probability of the tag", "share tagged right")
    panel.add(Series("", "as sure as right", LEVEL), [0, 1], [0, 1])
    table = comparison.tables["calibration"]
    for line in reversed(lines):
        mine = table[table["arm"] == line.arm]
        draw(panel, line, mine["confidence"], mine["accuracy"], marker="circle")


def _draw_confusion(arm: Arm, panel: Panel) -> None:
    """Of each right tag, the share that was predicted as each other one."""
    per_tag = arm.evaluation.tables["per_tag"][["tag", "support"]].itertuples(index=False)
    support = {str(tag): count for tag, count in per_tag}
    tags = list(support)[:20]
    pairs = arm.evaluation.tables["confusion"][["gold", "predicted", "words"]]
    words = {(str(gold), str(said)): count for gold, said, count in pairs.itertuples(index=False)}
    places = [(a, b) for a, b in np.ndindex(len(tags), len(tags)) if words.get((tags[a], tags[b])) and support[tags[a]]]
    panel.set(f"{arm.name}: tags that are confused", "predicted", "right tag")
    panel.x.limits, panel.y.limits, panel.x.upright = (-0.5, len(tags) - 0.5), (len(tags) - 0.5, -0.5), True
    for axis in (panel.x, panel.y):
        axis.ticks, axis.labels, axis.grid = range(len(tags)), tags, False
    found = [words[tags[a], tags[b]] / support[tags[a]] for a, b in places]
    told = [f"{tags[a]} tagged {tags[b]}: {share:.2%}" for (a, b), share in zip(places, found, strict=True)]
    largest, x, y = max([*found, 1e-9]), [b for _, b in places], [a for a, _ in places]
    panel.cells(x, y, found, {"scheme": "blues", "domain": [0, largest]}, told)
    large = [each for each in zip(x, y, found, strict=True) if each[2] >= 0.05]
    for colour, dark in ((INK, False), ("white", True)):
        x, y, shares = ([each[at] for each in large if (each[2] > largest / 2) == dark] for at in range(3))
        panel.words(x, y, [f"{share:.0%}" for share in shares], color=colour, fontSize=8)


WORDING = Wording(
    title="Recurrent taggers",
    loss="loss, nats per word",
    cluster="sentence",
    baselines={
        "most_frequent": "most frequent tag",
        "tnt": "TnT (hidden Markov model)",
        "perceptron": "averaged perceptron",
        "crf": "conditional random field",
    },
    measured={"guessed": "most_frequent_accuracy"},  # of the baseline most_frequent, which stands among the others
    chance="guessed",
    of_text={"unknown_share": ("unknown words", ".2%"), "unknown_tags": ("words of a tag unknown to training", ",.0f")},
    beside={
        "known_accuracy": "known, %",
        "unknown_accuracy": "unknown, %",
        "sentence_accuracy": "whole sentences, %",
        "macro_f1": "macro F1, %",
        "chunk_precision": "precision of chunks, %",
        "chunk_recall": "recall, %",
        "chunk_f1": "F1 of chunks, %",
    },
    measures={"calibration_error": "calibration error"},
    notes={
        "scores": "Words as the corpus cuts them, each scored once, padding never. Unknown: the word as it is written, "
        "case kept, does not occur in the training split. Macro F1: the mean over the tags that the test split holds, "
        "so a rare tag weighs as much as a frequent one. A word whose tag training lacks counts as an error, and has "
        "the nats of the least likely tag, which is less than it costs. Whole sentences: those without an error. F1 of "
        "chunks: as conlleval reads them, where an I- that follows no chunk of its type begins one. Most frequent tag: "
        "the one that training gives the word most often, and to unknown words the commonest of those seen once; a "
        "network below it has learned nothing. TnT and averaged perceptron: NLTK's. Conditional random field: "
        "CRFsuite's, {crf_iterations} iterations over the word, its affixes of up to four letters, its shape, and the "
        "two words on either side.",
        "variants": "Calibration error: the mean distance between how sure the network is and how often it is right.",
        "gradients": "The main stack is the one that reads from left to right.",
    },
    figures={
        "score": (
            "Accuracy by epoch",
            "On the validation split. The weights of the epoch with the highest accuracy are the ones that are tested.",
        ),
        "right": (
            "What stands to the right",
            "Accuracy by the number of words between a word and the end of its sentence. Who reads from left to right "
            "cannot see whether a noun or a verb follows; the distance between the arms is what that costs.",
        ),
        "calibration": (
            "How sure, and how often right",
            "Words by the probability of the tag that they were given. On the line, a tag of 90 % is right nine times "
            "in ten; below it the network is surer than it should be.",
        ),
        "confusion": (
            "Which tags are taken for which",
            "Each row a right tag, the most frequent first, and of its words the share that was given each other tag. "
            "The best arm by the validation split.",
        ),
        "targets": (
            "How far a tag reaches",
            "The gradient of the losses of those test words alone whose tag costs most without their sentence (64 of "
            "them, up to ten words on either side). Left of 0 what the stack that reads from the left is told, right "
            "of it the other one. Dotted: what comes back through the cell c of an LSTM.",
        ),
    },
    tables=tables,
    sections=sections,
    pictures=pictures,
)
