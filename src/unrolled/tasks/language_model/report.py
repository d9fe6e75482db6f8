"""What the report says of a language model beyond its scores, and what the arms write."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from unrolled.ground.checksums import read_sealed
from unrolled.report import targets
from unrolled.report.arms import Arm, evaluated, stacked
from unrolled.report.chart import Chart
from unrolled.report.comparison import Comparison
from unrolled.report.drawing import LEVEL, Line, draw, finish, row
from unrolled.report.markdown import or_bounded, with_interval
from unrolled.report.panel import Panel
from unrolled.report.sections import Section, Table
from unrolled.report.seeds import Configuration
from unrolled.report.wording import Wording
from unrolled.shell.errors import UserError
from unrolled.tasks.language_model.evaluation.scores import OF_LINES, OF_SENTENCES, RESET
from unrolled.tasks.language_model.finishing import figures as finishing_figures
from unrolled.tasks.language_model.finishing import section as finishing
from unrolled.tasks.language_model.text.inference import Trained

TEXT = Path("data/text")
NOTHING = 1e-9  # of a gradient
SAMPLE_TOKENS, PROMPT_WORDS, SEED = 40, 4, 1
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "temperature 0.5": {"temperature": 0.5},
    "temperature 1": {},
    "top 40": {"top_k": 40},
    "nucleus 0.9": {"nucleus": 0.9},
}


def samples(arms: Sequence[str], workspace: Path = Path()) -> Mapping[str, Mapping[str, str] | str]:
    """How each arm continues the first words of the test split's first long line, by way of sampling; or why not."""
    read_sealed(workspace / TEXT, "documents.json")
    opening = (workspace / TEXT / "test.txt").read_text(encoding="utf-8")[:1000]
    long = [words for words in map(str.split, opening.split("\n")) if len(words) > PROMPT_WORDS]
    prompt = " ".join(long[0][:PROMPT_WORDS] if long else [])
    written: dict[str, dict[str, str] | str] = {}
    for arm in arms:
        try:
            trained = Trained.read(arm, workspace)
            written[arm] = {
                way: trained.continued(prompt, length=SAMPLE_TOKENS, samples=1, seed=SEED, **options)[0]
                for way, options in WAYS.items()
            }
        except UserError as error:  # a BiLSTM, or an arm that exploded
            reason = str(error).removeprefix(f"{arm}: ")
            written[arm] = f"{reason[:1].upper()}{reason[1:]}."
    return written


# ---- made-up text, of which every token's least cost is known ----------------------------------------------------


def judged(settings: Mapping[str, Any]) -> str:
    """Who was trained on each sentence from a zero state says nothing by what it makes of a state carried on."""
    return RESET if settings["train"].get("reset") == "sentence" else "forward_perplexity"


def tables(arms: Sequence[Arm]) -> dict[str, pd.DataFrame]:
    """Gradients by distance back from the most dependent targets, and of agreement recall by distance; by arm."""
    found = {"targets": targets.lags(arms)}
    if "recall" in arms[0].evaluation.tables:
        found["recall"] = evaluated(arms, "recall")
        found["arrival"] = stacked(arms, lambda arm: arm.probes.arrival)
    return found | finishing.tables(arms)


def sections(comparison: Comparison) -> list[Section]:
    """What is paid beyond the floor, by head, by role and by distance, where that is known; and what arms say."""
    every, first = comparison.configurations, comparison.arms[0].evaluation
    if "forward_excess" not in first.values:
        return finishing.sections(comparison)
    shown = [_excess(comparison)]
    if "by_role" in first.tables:
        shown += [_by_role(every)]
    if "recall" in first.tables:
        shown += [_recall(every)]
    return [Section("Over the floor", shown, OVER_THE_FLOOR), *finishing.sections(comparison)]


EXCESS, RECALL = "{:.4f}".format, "{:.2f}".format
OVER_THE_FLOOR = [
    "Of this text it is known what each token costs at the least, given all before it (left to right), all behind it "
    "(right to left), or both: the floor. What an arm pays beyond it is the network's own fault, in nats a token. The "
    "floor is that of the very test tokens, so that chance is in both and cancels. An interval wholly below 0 would "
    "mean that a head saw its target: the evaluation refuses to write it. Recall: of what the subject tells of its "
    "verb, the share that is still known so many words later; 0 is chance. Memory span: the distance at which recall "
    "falls below one half, or the farthest measured where it does not. Effective "
    "order: that of the n-gram model which at the best loses as little at the verbs."
]


def _excess(comparison: Comparison) -> Table:
    scores = [score for score in comparison.scores if score.column == "floor"]
    rows = comparison.summaries
    scores = [score for score in scores if any(row[score.name] is not None for row in rows)]
    return (
        ["nats over the floor", *(score.heading for score in scores)],
        [[each["configuration"], *(with_interval(each, score.name) for score in scores)] for each in rows],
    )


def _by_role(every: Sequence[Configuration]) -> Table:
    table = every[0].told[0].evaluation.tables["by_role"]
    heads = table[["role", "tokens", "floor"]].itertuples(index=False)
    headings = [
        "nats over the floor by role",
        *(f"{role} ({count:,}, floor {floor:.3f})" for role, count, floor in heads),
    ]
    return headings, [
        [
            each.name,
            *each.told_over_seeds(lambda arm: arm.evaluation.tables["by_role"]["forward_excess"], or_bounded(EXCESS)),
        ]
        for each in every
    ]


def _recall(every: Sequence[Configuration]) -> Table:
    table = every[0].told[0].evaluation.tables["recall"]
    bins = table[["shortest", "longest"]].itertuples(index=False)
    headings = ["recall by distance", *(f"{low}" if low == high else f"{low} to {high}" for low, high in bins)]
    return headings, [
        [each.name, *each.told_over_seeds(lambda arm: arm.evaluation.tables["recall"]["recall"], or_bounded(RECALL))]
        for each in every
    ]


def pictures(lines: Sequence[Line], comparison: Comparison) -> Mapping[str, Callable[[], Chart]]:
    found: dict[str, Callable[[], Chart]] = {}
    if len(lags := comparison.tables["targets"]):
        found["targets"] = lambda: targets.picture(lines, lags)
    if "recall" in comparison.tables:
        draws = [partial(_draw_recall, lines, comparison.tables["recall"])]
        if len(arrival := comparison.tables["arrival"]):
            draws.append(partial(_draw_arrival, lines, arrival))
        found["recall"] = lambda: row(draws, lines)
    return {**found, **finishing_figures.pictures(lines, comparison)}


def _draw_recall(lines: Sequence[Line], table: pd.DataFrame, panel: Panel) -> None:
    panel.set("Recall by distance", "words between subject and verb", "recall", log="x")
    for height in (0, 0.5):
        panel.rule(height, LEVEL)
    for line in reversed(lines):
        mine = table[table["arm"] == line.arm]
        middle = np.sqrt(mine["shortest"] * mine["longest"])
        draw(panel, line, middle, mine["recall"].clip(lower=-0.5), marker="circle")
    panel.y.limits = (min(-0.05, max(-0.5, float(table["recall"].min()) - 0.05)), 1.05)


def _draw_arrival(lines: Sequence[Line], table: pd.DataFrame, panel: Panel) -> None:
    """What is less than nothing to an optimiser lies at the lower edge."""
    panel.set("Gradient that arrives", "words between subject and verb", "dL/dh at the subject / at the cue", log="xy")
    for line in reversed(lines):
        mine = table[table["arm"] == line.arm]
        draw(panel, line, mine["distance"], mine["arrival"].clip(lower=NOTHING), marker="circle")
    finish(panel, table["arrival"].clip(lower=NOTHING))


WORDING = Wording(
    title="Recurrent language models",
    loss="loss, nats per token",
    baselines={"kneser_ney": "Kneser-Ney n-grams", "unigram": "unigram", "uniform": "uniform"},
    measured={"unigram": "unigram_perplexity", "uniform": "uniform_perplexity"},
    chance="unigram",
    of_text={"vocabulary_size": ("vocabulary", ",.0f"), "unknown_share": ("unknown", ".2%")},
    beside={
        "spelled_bits_per_character": "bits a character",
        "spelled_bits_per_byte": "bits a byte",
        "nats_over_floor": "nats over the floor",
        "memory_span": "memory span, words",
        "recall": "recall",
        "effective_order": "effective order",
    },
    measures={"interpolation_weight": "w", "softmax_temperature": "temperature"},
    judged=judged,
    metrics=(*OF_SENTENCES, *(f"own_{name}" for name in OF_LINES)),
    notes={
        "scores": "Kneser-Ney n-grams: interpolated modified Kneser-Ney of order {ngram_order}. Unigram: training "
        "counts plus one, without context. Uniform: every type is equally likely. Unknown: the share of the test "
        "tokens that are not in the vocabulary. Perplexities compare within one vocabulary alone. Across vocabularies "
        "compare nats and bits of the whole test text: those of its tokens, read from left to right, and those of "
        "spelling each unknown one, letter by letter and then an end. A letter, or the end, is as likely as in the "
        "training words that are unknown there or, where none is, occur once, each counted once more; a letter that "
        "these lack costs an escape and then any other code point. Characters, and bytes of UTF-8, are those of the "
        "text as its reader left it, before lower-casing, line ends among them. Nothing is paid for case where "
        "vocabulary.lowercase is true, nor for white space between words: figures compare under the same lowercase, "
        "and those of characters pay for white space too.",
        "variants": "The second table shows the forward head, evaluated in other ways.",
        "gradients": "The main stack is the one that reads from left to right.",
        "pairs": "All pairs compare the heads that read from left to right.",
    },
    figures={
        "learning_rates": (
            "Learning rate and clipping",
            "Validation perplexity of each learning rate with each threshold. White: training diverged, or the "
            "perplexity is more than twice that of the unigram model. Compare the columns each at its own best: what "
            "clipping buys is the rates that survive.",
        ),
        "score": (
            "Perplexity by epoch",
            "Perplexity is the number of equally likely words that the network is, in effect, choosing between: exp of "
            "the mean cross-entropy. A curve that jumps to the upper edge is an arm that exploded.",
        ),
        "context": (
            "How much context the networks use",
            "Left: the test split again, but with the state reset so many tokens before each word that is predicted. "
            "Where the curve is flat, what lies further back makes no difference. Right, for comparison: how far back "
            "the gradient of one loss reaches, and so how much context training could have taught the network to use.",
        ),
        "targets": (
            "Where context is needed most",
            "The gradient of the losses of those test tokens alone whose cost falls most with their context (64 of the "
            "probed ones). The profile above mixes all losses, most of which hang on the word before, and so hides "
            "what a network remembers. Dotted: what comes back through the cell c of an LSTM, where the gradient may "
            "travel while h shows next to nothing. A gradient that has vanished says that such a dependency will "
            "not be learnt, not that it cannot be kept: a network may hold a word for ever at a gradient of nothing.",
        ),
        "recall": (
            "How far the subject is remembered",
            "Of what the subject tells of its verb, the share that a network still knows so many words later. 1: all "
            "that can be known; 0: chance, the subject is forgotten; below: worse than chance. Beside it, of the "
            "gradient of the losses of verbs alone, how large it is at the subject, over that at the cue. "
            "The two are not the same: who has learned to hold the subject fast holds it at a gradient of next to "
            "nothing, and a gradient that arrives says no more than that it could be learned.",
        ),
        **finishing_figures.FIGURES,
    },
    tables=tables,
    sections=sections,
    pictures=pictures,
    samples=samples,
    about_samples="Every arm continues the same words, the first of the test split, and reads each word that it draws "
    "before it draws the next. <unk> is never drawn.",
)
