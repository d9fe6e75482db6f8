"""What the report says of text classification beyond its scores."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import pandas as pd

from unrolled.ground.bootstrap import bootstrap_interval
from unrolled.ground.evaluation import Resampling, Units
from unrolled.report.arms import Arm, evaluated
from unrolled.report.chart import Chart
from unrolled.report.comparison import Comparison
from unrolled.report.drawing import Line, draw, finish, row
from unrolled.report.markdown import defined, over_seeds
from unrolled.report.panel import INK, Look, Panel, Series
from unrolled.report.sections import Section, Table
from unrolled.report.seeds import Configuration
from unrolled.report.wording import Wording
from unrolled.tasks.classification.evaluation.ensemble import right_together

BY_ARM = ("neutral_words", "calibration", "lengths")  # tables of an evaluation that figures are drawn from
QUOTED = {"most_wrong": "Most wrong", "least_sure": "Least sure"}
LONGEST = 300  # characters of a quoted text
DOTTED = Look(INK, (1.5, 2), 1)  # chance, or no worse than it says
FADED = 0.01  # of the largest norm: less of the gradient says nothing to a word
TOLERANCE = 1e-12  # of the largest norm: what lies below is drawn at the edge


def tables(arms: Sequence[Arm]) -> dict[str, pd.DataFrame]:
    """The tables of all arms' evaluations one below the other, with their arms; those that are empty left out."""
    return {name: evaluated(arms, name) for name in BY_ARM}


# ---- sections --------------------------------------------------------------------------------------------------------


def sections(comparison: Comparison) -> list[Section]:
    """Labels, lengths, what neutral words undo, and texts to read."""
    every = comparison.configurations
    stuck = _stuck(comparison.arms)
    return [
        *_ensembles(comparison),
        Section("Each label", [_labels(every)], ["F1: the harmonic mean of precision and recall."]),
        Section("Short and long texts", [_lengths(every)], [LENGTHS]),
        Section("Vanishing: words that say nothing behind each text", [_neutral(every)], [*NEUTRAL, *stuck]),
        *(
            Section(f"{title} texts", [_quoted(best, name)], [about])
            for best, name, title, about in _to_read(comparison)
        ),
    ]


ENSEMBLE = (
    "The same texts labelled by all seeds of an arm together: by the mean of their probabilities, in which what one "
    "network got wrong by chance is outvoted. It costs as many trainings, and as many times the reading."
)
LENGTHS = "Accuracy by quarter of the test texts, by their length in words, or in characters where the unit is these."
NEUTRAL = [
    "Accuracy when so many words are set behind each test text that say nothing: drawn from the frequent words of "
    "training that are as common in texts of one label as of another. Then the norm of dL/dh of one loss at the first "
    "word of the text and at its last one, with the most words behind it, as shares of the largest norm: what training "
    "would see of these words.",
]


def ensemble(arms: Sequence[Arm]) -> dict[str, float]:
    """Of the mean of several arms' probabilities, the share of right texts."""
    return {"ensemble_accuracy": float(_ensemble(arms).mean(dtype=float))}


def _ensemble(arms: Sequence[Arm]) -> Units:
    return right_together([arm.evaluation.tables["probabilities"] for arm in arms])


def _ensembles(comparison: Comparison) -> list[Section]:
    """Beside what the seeds of an arm reach one by one what they reach together, where there are several."""
    resampling, rows = Resampling.of(comparison.evaluate), []
    for each in comparison.configurations:
        if len(each.told) > 1:
            right = _ensemble(each.told)
            low, high = bootstrap_interval(right, each.told[0].evaluation.clusters, **resampling._asdict())
            alone = over_seeds([arm.evaluation.values["accuracy"] for arm in each.told], "{:.1%}".format)
            rows.append([each.name, str(len(each.told)), alone, f"{right.mean():.1%} [{low:.1%}, {high:.1%}]"])
    headings = ["arm", "seeds", "accuracy of one", f"of all together, {100 * resampling.confidence:.6g}% interval"]
    return [Section("The seeds together", [(headings, rows)], [ENSEMBLE])] if rows else []


def _labels(every: Sequence[Configuration]) -> Table:
    labels = every[0].told[0].evaluation.tables["labels"]
    columns = [
        each.told_over_seeds(lambda arm: arm.evaluation.tables["labels"]["f1"], "{:.3f}".format) for each in every
    ]
    rows = zip(labels["label"], labels["texts"].tolist(), *columns, strict=True)
    return (
        ["label", "test texts", *(f"F1, {each.name}" for each in every)],
        [[name, f"{count:,}", *f1] for name, count, *f1 in rows],
    )


def _lengths(every: Sequence[Configuration]) -> Table:
    quarters = every[0].told[0].evaluation.tables["lengths"]
    headings = [
        f"length {short:,} to {long:,}" for short, long in quarters[["shortest", "longest"]].itertuples(index=False)
    ]
    return ["arm", *headings], [[each.name, *_accuracies(each, "lengths")] for each in every]


def _accuracies(each: Configuration, table: str) -> list[str]:
    return each.told_over_seeds(lambda arm: arm.evaluation.tables[table]["accuracy"], "{:.1%}".format)


def _neutral(every: Sequence[Configuration]) -> Table:
    counts = every[0].told[0].evaluation.tables["neutral_words"]["neutral_words"].tolist()
    headings = ["arm", *(f"{count:,} more" for count in counts), "at the first word", "at the last word"]

    def reached(arm: Arm) -> list[float]:
        last = arm.evaluation.tables["neutral_words"].iloc[-1]
        return [_share(last, end) for end in ("first", "last")]

    return headings, [
        [each.name, *_accuracies(each, "neutral_words"), *each.told_over_seeds(reached, defined)] for each in every
    ]


def _share(measured: "pd.Series[float]", end: str) -> float:
    """Of the largest norm; nan where there is no gradient."""
    return float(measured[end] / measured["largest"]) if measured["largest"] > 0 else math.nan


def _stuck(arms: Sequence[Arm]) -> list[str]:
    """In words, whether a gradient that vanished is why an arm does no better than the most frequent label."""
    said = []
    for arm in arms:
        reached, chance = arm.evaluation.values["accuracy"], arm.evaluation.measures["most_frequent_accuracy"]
        if arm.evaluation.intervals["accuracy"].low > chance:
            continue
        table = arm.evaluation.tables["neutral_words"]
        measured = table[table["neutral_words"] == table["neutral_words"].min()].iloc[0]
        steps = int(measured["words"]) + int(measured["neutral_words"]) + _trained_with(arm)
        first, last = (_share(measured, end) for end in ("first", "last"))
        reason = (
            "the gradient reaches these words, and did not vanish on the way to them."
            if min(first, last) >= FADED
            else "training cannot tell these words what they did to the loss."
        )
        said.append(
            f"{arm.name} reaches {reached:.1%}, which cannot be told from the {chance:.1%} of the most frequent label "
            f"alone. The loss stands at the end of {steps:,} {'step' if steps == 1 else 'steps'}, and the gradient at "
            f"the first word is {defined(first)} of the largest, at the text's own last word {defined(last)}: {reason}"
        )
    return said


def _trained_with(arm: Arm) -> int:
    return int(arm.run.settings["network"]["neutral_words"])


def _to_read(comparison: Comparison) -> list[tuple[Arm, str, str, str]]:
    """The texts of the best arm by the validation split."""
    valid = {row["arm"]: row["accuracy_valid"] for row in comparison.rows if row["accuracy_valid"] is not None}
    if not valid:
        return []
    best = next(arm for arm in comparison.arms if arm.name == max(valid, key=lambda name: valid[name]))
    about = f"Of {best.name}, the best arm on the validation split."
    return [(best, name, title, about) for name, title in QUOTED.items() if len(best.evaluation.tables[name])]


def _quoted(arm: Arm, name: str) -> Table:
    rows = [
        [label, chosen, f"{probability:.3f}", _shortened(text)]
        for label, chosen, probability, text in arm.evaluation.tables[name].itertuples(index=False)
    ]
    return ["label", "predicted", "with probability", "text"], rows


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"


# ---- pictures --------------------------------------------------------------------------------------------------------


def pictures(lines: Sequence[Line], comparison: Comparison) -> dict[str, Callable[[], Chart]]:
    """What neutral words undo, beside the gradient; how reliable the probabilities are; accuracy by length."""
    table, chance = comparison.tables["neutral_words"], comparison.baselines["most_frequent"]
    neutral = [partial(_accuracy, lines, table, chance), partial(_gradient, lines, table)]
    return {
        "neutral_words": lambda: row(neutral, lines),
        "calibration": lambda: row([partial(_reliability, lines, comparison.tables["calibration"])], lines),
        "lengths": lambda: row([partial(_by_length, lines, comparison.tables["lengths"])], lines),
    }


def _accuracy(lines: Sequence[Line], table: pd.DataFrame, chance: float, panel: Panel) -> None:
    panel.set("Accuracy", "words that say nothing behind each text")
    panel.y.percent = True
    for line in lines:
        mine = table[table["arm"] == line.arm]
        draw(panel, line, mine["neutral_words"], mine["accuracy"], marker="circle")
    panel.rule(chance, DOTTED, f"most frequent label: {chance:.1%}")


def _gradient(lines: Sequence[Line], table: pd.DataFrame, panel: Panel) -> None:
    behind, share = "words that say nothing behind each text", "norm of dL/dh, share of the largest"
    panel.set("Gradient at the text's last word", behind, share, log="y")
    shares = (table["last"] / table["largest"]).where(table["largest"] > 0)
    for line in lines:
        mine = table["arm"] == line.arm
        draw(panel, line, table["neutral_words"][mine], shares[mine].clip(lower=TOLERANCE), marker="circle")
    finish(panel, shares, bottom=TOLERANCE)


def _reliability(lines: Sequence[Line], table: pd.DataFrame, panel: Panel) -> None:
    panel.set("Reliability", "probability of the predicted label", "share that is right")
    panel.x.percent = panel.y.percent = True
    for line in lines:
        mine = table[table["arm"] == line.arm]
        draw(panel, line, mine["confidence"], mine["accuracy"], marker="circle")
    panel.x.limits = (0.98 * float(table["confidence"].min()), 1.005)
    panel.add(Series("", "as sure as right", DOTTED), panel.x.limits, panel.x.limits)


def _by_length(lines: Sequence[Line], table: pd.DataFrame, panel: Panel) -> None:
    panel.set("Accuracy by length", "length of the text, middle of the quarter")
    panel.y.percent = True
    for line in lines:
        mine = table[table["arm"] == line.arm]
        draw(panel, line, (mine["shortest"] + mine["longest"]) / 2, mine["accuracy"], marker="circle")


FIGURES: Mapping[str, tuple[str, str]] = {
    "score": ("Accuracy by epoch", "The share of the validation split's texts whose likeliest label is the right one."),
    "neutral_words": (
        "Vanishing, seen",
        "Left: the test texts again, with words behind them that say nothing (dotted: the most frequent label alone). "
        "A read-out that forgets the text falls to the dotted line. Right: how much of the gradient of the one loss "
        "still reaches the last word of the text itself. What the gradient cannot reach, training could not teach the "
        "network to keep. Mean and max have a direct path to every word, or to some.",
    ),
    "calibration": (
        "Reliability",
        "How often the predicted label is right, by its probability. On the dotted line a network is right as often as "
        "it says; below it, it is too sure.",
    ),
    "lengths": ("Accuracy by length", "By quarter of the test texts, the shortest first."),
    "context": (
        "How many words the networks use",
        "Left: accuracy when only the last words of each text are read. Where the curve is flat, what stands further "
        "back makes no difference. Right, for comparison: how far back the gradient of one loss reaches.",
    ),
    "lag_profile": (
        "How far back the one loss of a text reaches",
        "The norm of dL/dh by distance back from the end that the stack reads to; every text has one loss. With the "
        "read-out last, a straight line down is the vanishing gradient; mean and max reach words directly, and stay "
        "flat.",
    ),
}

WORDING = Wording(
    title="Recurrent text classifiers",
    loss="loss, nats per text",
    cluster="text",
    baselines={
        "naive_bayes": "naive Bayes",
        "logistic_regression": "logistic regression",
        "nb_svm": "NB-SVM",
        "most_frequent": "most frequent label",
    },
    measured={"most_frequent": "most_frequent_accuracy"},
    beside={"macro_f1": "macro F1", "roc_auc": "ROC-AUC", "calibration_error": "calibration error"},
    notes={
        "scores": "Naive Bayes, logistic regression (on tf-idf) and NB-SVM count words and pairs of neighbours (of "
        "characters up to four in a row) in the same training texts. ROC-AUC and macro F1 are means over labels. "
        "Calibration error: the mean distance between the probability of the predicted label and how often it is "
        "right. A BiLSTM reads each text from both sides, which is fair here: the label is no part of what it reads.",
        "gradients": "The main stack reads from left to right. A text has one loss, so these norms do not "
        "compare with those of a language model, whose mean is over words.",
    },
    figures=FIGURES,
    tables=tables,
    sections=sections,
    pictures=pictures,
    ensemble=ensemble,
)
