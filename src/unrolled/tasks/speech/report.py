"""What the report says of speech beyond its scores: voices, lengths, what the audio tells, where it is heard."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile

from unrolled.ground.corpus import Corpus, read_corpus
from unrolled.report.arms import Arm, evaluated
from unrolled.report.chart import Chart
from unrolled.report.comparison import Comparison
from unrolled.report.drawing import Line, draw, panels, row
from unrolled.report.markdown import bounded, over_seeds
from unrolled.report.panel import Panel
from unrolled.report.sections import Section, Table
from unrolled.report.seeds import Configuration
from unrolled.report.wording import Wording
from unrolled.tasks.speech.model.batches import utterance
from unrolled.tasks.speech.picture import alignment

BY_ARM = ("positions", "sets", "speakers", "attention")  # tables of an evaluation that the report shows
SETS = {
    "unseen": "voices that no training utterance has",
    "longer": "longer than any that was trained on",
    "free": "every word may follow every other",
}
DECODINGS = ("as set", "language model alone, greedy")
MILLISECONDS = 10  # a frame
PICTURES = 3  # utterances that are drawn


def tables(arms: Sequence[Arm]) -> dict[str, pd.DataFrame]:
    """The tables of all arms' evaluations one below the other."""
    return {name: evaluated(arms, name) for name in BY_ARM}


# ---- sections --------------------------------------------------------------------------------------------------------


def sections(comparison: Comparison) -> list[Section]:
    every = comparison.configurations
    sets = _set_headings(every)
    by_set = [([decoding, *sets], [[each.name, *_errors(each, decoding)] for each in every]) for decoding in DECODINGS]
    return [
        Section("What the audio tells", [_told(every)], TOLD),
        Section("Voices, lengths, and who writes", by_set, WRITES),
        Section("Which words are heard", [_positions(every)], [POSITIONS]),
        Section("Each voice", [_speakers(every)], ["Word error rate; of several seeds the median, and the range."]),
        Section("How far back the gradient reaches in time", [_reach(every)], [REACH]),
        Section("To listen to", [], [f"Written by {_best(comparison).name}."], _heard(comparison)),
    ]


TOLD = [
    "Bits a text: what the texts of the test split hold (their grammar's entropy, which no model of the text alone "
    "goes below; where it is not known, what the language model pays that hears nothing, and a better one may pay "
    "less), and how much of it the audio told the model (below 0: it pays more than that). Perplexity of the true "
    "text, its words (or characters, if these are written) and its end read one after another: with its own audio, and "
    "with that of another text of about the same length, which is worse than none where a model believes what it "
    "hears.",
    "Within the word: which share of the attention that a word is written with, and of the gradient of its loss, lies "
    "in the stretch of sound where it is spoken. An encoder that reads from left to right has heard a word only at its "
    "end, so it is attended to late; gradients run back from there.",
]
WRITES = [
    "Word error rate: substitutions, deletions and insertions over the words that were said; the model writes the text "
    "itself, none of it is given. First as the settings decode (a beam over what the language model says and, of an "
    "arm with a CTC head, CTC), then with the language model alone, each word the likeliest: where attention loses its "
    "way, as in texts longer than those of training, CTC may keep it. Intervals are over texts.",
]
POSITIONS = (
    "Word error rate by the place of a word in the texts of the median length. One vector (initial_state) holds "
    "what the encoder read last: from left to right the last word, from both sides the first and the last."
)
REACH = (
    "From the loss of a text's end back along the audio: over how many milliseconds the norm of dL/dh halves, by its "
    "median slope (negative: it doubles), and how long it stays above 1% of its largest (more: as long as the sound "
    "is). Attention is a direct path to any time step."
)


def _told(every: Sequence[Configuration]) -> Table:
    columns = {
        "bits there are": "bits_there", "bits heard": "bits_heard", "perplexity": "perplexity",
        "with another's audio": "perplexity_with_other_audio", "floor of the text": "text_floor",
        "attention within the word": "attention_inside", "gradient within the word": "gradient_inside",
    }  # fmt: skip
    rows = [
        [each.name, *(_measure(each, name, _share if "inside" in name else bounded) for name in columns.values())]
        for each in every
    ]
    return ["arm", *columns], rows


def _measure(each: Configuration, name: str, form: Callable[[float], str]) -> str:
    return over_seeds([arm.evaluation.measures[name] for arm in each.told], form)


def _share(value: float) -> str:
    return f"{value:.1%}" if np.isfinite(value) else "undefined"


def _set_headings(every: Sequence[Configuration]) -> list[str]:
    names = [str(name) for name in _of(every[0].told[0], DECODINGS[0])["set"]]
    told = SETS | {"test": _test_voices()}
    return [f"{told.get(name, name)} ({name})" for name in names]


def _test_voices() -> str:
    """Whether training has heard those who speak in the test split."""
    corpus = read_corpus(Path("data/encoded"))
    test, train = (set(np.asarray(split.arrays["speakers"]).tolist()) for split in (corpus.test, corpus.train))
    if len(corpus.names["speakers"]) == 1:  # or nobody says who speaks
        return "other recordings"
    if test <= train:
        return "voices of training, other recordings"
    return "other recordings, some of other voices" if test & train else SETS["unseen"]


def _of(arm: Arm, decoding: str) -> pd.DataFrame:
    frame = arm.evaluation.tables["sets"]
    return frame[frame["decoding"] == decoding]


def _errors(each: Configuration, decoding: str) -> list[str]:
    if len(each.told) > 1:
        return each.told_over_seeds(lambda arm: _of(arm, decoding)["word_error_rate"], _share)
    found = _of(each.told[0], decoding)[["word_error_rate", "low", "high"]].to_numpy(dtype=float).tolist()
    return [_share(error) + ("" if np.isnan(low) else f" [{low:.1%}, {high:.1%}]") for error, low, high in found]


def _positions(every: Sequence[Configuration]) -> Table:
    return _errors_by(every, "positions", ("length", "position"), "word {1} of {0}")


def _speakers(every: Sequence[Configuration]) -> Table:
    return _errors_by(every, "speakers", ("set", "speaker"), "{1} ({0})")


def _errors_by(every: Sequence[Configuration], table: str, columns: tuple[str, str], heading: str) -> Table:
    """The word error rate of each row of the evaluations' table, as a column; ``heading``: of the row's ``columns``."""
    first = every[0].told[0].evaluation.tables[table]
    headings = [heading.format(*row) for row in first[list(columns)].itertuples(index=False)]
    return ["arm", *headings], [
        [each.name, *each.told_over_seeds(lambda arm: arm.evaluation.tables[table]["word_error_rate"], _share)]
        for each in every
    ]


def _reach(every: Sequence[Configuration]) -> Table:
    rows = []
    for each in every:
        if each.told[0].run.settings["network"]["conditioning"] == "none":
            continue
        step = MILLISECONDS * int(each.told[0].run.settings["network"]["frames_per_step"])
        found = [[float(line[name]) * step for line in each.told_rows] for name in ("half_life", "gradient_reach")]
        rows.append([each.name, f"{step} ms", *(over_seeds(values, _milliseconds) for values in found)])
    return ["arm", "a time step", "half-life", "reach"], rows


def _milliseconds(value: float) -> str:
    if np.isfinite(value):
        return f"{value:,.0f} ms"
    return "undefined" if np.isnan(value) else "more"


def _best(comparison: Comparison) -> Arm:
    """By the validation split, so that the choice knows nothing of what is shown of it."""
    name = f"{comparison.main.name}_valid"
    reached = {each["arm"]: each[name] for each in comparison.rows}
    return min(comparison.arms, key=lambda arm: np.inf if reached[arm.name] is None else reached[arm.name])


# ---- to listen to ----------------------------------------------------------------------------------------------------


def _heard(comparison: Comparison) -> list[tuple[str, dict[str, str]]]:
    corpus, written = read_corpus(Path("data/encoded")), _best(comparison).evaluation.tables["written"]
    sound, ends = corpus.test.arrays["sound"], corpus.test.arrays["sound_ends"].tolist()
    rate = int(corpus.names["rate"][0])
    return [
        (_player(np.asarray(sound[first:last]), rate), {"said": said, "written": found})
        for said, found, first, last in zip(written["text"], written["written"], [0, *ends], ends, strict=False)
    ]


def _player(samples: Any, rate: int) -> str:
    """The address of a sound that holds the sound."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="FLAC", subtype="PCM_16")
    return f"data:audio/flac;base64,{base64.b64encode(file.getvalue()).decode()}"


# ---- pictures --------------------------------------------------------------------------------------------------------


def pictures(lines: Sequence[Line], comparison: Comparison) -> dict[str, Callable[[], Chart]]:
    """Where each word is heard, over the sound itself; the error by place."""
    table = comparison.tables["positions"]
    drawn = {"positions": lambda: row([partial(_by_position, lines, table)], lines)}
    best = _best(comparison)
    attention = best.evaluation.tables["attention"]
    if len(attention):
        corpus = read_corpus(Path("data/encoded"))
        shown = sorted(set(attention["utterance"]))[:PICTURES]
        draws = [partial(_alignment, corpus, best, number) for number in shown]
        drawn["attention"] = lambda: Chart(panels(draws))
    return drawn


def _by_position(lines: Sequence[Line], table: pd.DataFrame, panel: Panel) -> None:
    panel.set("Word error rate by place", "word of the text")
    panel.y.limits, panel.y.percent, panel.x.ticks = (-0.02, 1.02), True, sorted(set(table["position"].tolist()))
    for line in reversed(lines):
        mine = table[table["arm"] == line.arm]
        draw(panel, line, mine["position"], mine["word_error_rate"], top=1.0, marker="circle")


def _alignment(corpus: Corpus, arm: Arm, number: int, panel: Panel) -> None:
    said, network = utterance(corpus.test, number), arm.run.settings["network"]
    table = arm.evaluation.tables["attention"]
    mine = table[table["utterance"] == number]
    frames = network["frames_per_step"] * 2 ** (network["layers"] - 1 if network["pyramid"] else 0)
    attention = np.zeros((len(said.words), -(-len(said.sound) // frames)))
    attention[mine["word"], mine["step"]] = mine["weight"]
    words = [corpus.names["words"][index] for index in said.words]
    alignment(panel, said.sound, words, attention, frames / 100, said.spoken.tolist())
    panel.title = f"Utterance {number + 1}"


FIGURES: Mapping[str, tuple[str, str]] = {
    "score": (
        "Word error rate by epoch",
        "On the validation split, each word written the likeliest. A plateau at the beginning is the time before "
        "attention has found where to look; then the error falls at once.",
    ),
    "attention": (
        "Where each word is heard",
        "Below the sound, the louder the darker, high pitches above. Above it a row a word: how much attention each "
        "moment is given as it is written. Orange: where it is spoken, known where words were joined from recordings "
        "of one each.",
    ),
    "positions": (
        "Which words are heard",
        "Word error rate by place, in texts of the median length. A single vector remembers what was read last.",
    ),
    "lag_profile": (
        "How far back the last loss reaches",
        "The norm of dL/dh at each time step of the audio, from its end back, of the loss of the text's end alone. "
        "With attention there is a direct path to where it looks; one vector lets the gradient pass through all steps.",
    ),
}

WORDING = Wording(
    title="Language models that listen",
    loss="loss, nats per word",
    cluster="text",
    baselines={
        "unheard": "hears nothing",
        "random": "guesses",
        "isolated": "knows where each word is (SVM)",
    },
    beside={
        "text_error_rate": "wrong texts",
        "substitutions": "substitutions",
        "deletions": "deletions",
        "insertions": "insertions",
        "perplexity": "perplexity",
    },
    metrics=("bits_heard", "word_error_rate_unseen", "word_error_rate_longer"),
    notes={
        "scores": "Errors are shares of the words that were said, so a word error rate may exceed 1. The language "
        "model that hears nothing knows how texts go and how long they are; the support vector machine is given each "
        "word cut out, where that is known, so its error is what is hard to hear. Forced error beside word error rate: "
        "what a model's own mistakes cost it, as each word is written after its own words or after the true ones. "
        "Cross-entropy lays the cost of a text's end on its last word, perplexity counts the end as one more. The "
        "validation error is that of training: each word the likeliest, with CTC in the share that it was taught by.",
        "gradients": "The main stack reads the audio from left to right. The loss is the mean over words, with CTC's "
        "share in it. Of an arm that hears nothing, both are the language model's.",
    },
    figures=FIGURES,
    tables=tables,
    sections=sections,
    pictures=pictures,
)
