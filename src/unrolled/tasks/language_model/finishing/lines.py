"""Real text: lines that arms say of their own, how good and how varied they are by temperature."""

import math
from collections.abc import Sequence
from typing import Any

from unrolled.report.comparison import Comparison
from unrolled.report.markdown import number, over_seeds
from unrolled.report.sections import Table
from unrolled.report.seeds import Configuration
from unrolled.tasks.language_model.evaluation.scores import OWN, TEXT
from unrolled.tasks.language_model.finishing.cells import Form, heard, or_none, with_ends

COLUMNS: dict[str, tuple[str, Form]] = {  # of own_lines.csv
    "perplexity": ("perplexity", number),
    "self_bleu": ("self-BLEU", "{:.3f}".format),
    **{f"distinct_{n}": (f"distinct-{n}", "{:.3f}".format) for n in (1, 2, 4)},
    "copied": ("8-grams from training", "{:.1%}".format),
    "unfinished": ("unfinished", "{:.1%}".format),
}
INTERVALS = {"perplexity": ("low", "high"), "self_bleu": ("self_bleu_low", "self_bleu_high")}


def shown(every: Sequence[Configuration]) -> Table:
    """A row a configuration and temperature, and below them the test text."""
    first = heard(every[0].told, "own_lines")[0].evaluation.tables["own_lines"]
    rows = []
    for each in every:
        found = [arm.evaluation.tables["own_lines"] for arm in heard(each.told, "own_lines")]
        for temperature in found[0]["temperature"].dropna().tolist():
            at = [table[table["temperature"] == temperature].iloc[0] for table in found]
            rows.append([each.name, f"{temperature:g}", *_cells(at)])
    return (
        ["own lines", "temperature", *(heading for heading, _ in COLUMNS.values())],
        [*rows, ["*the test text*", "", *_cells([first[first["of"] == TEXT].iloc[0]])]],
    )


def _cells(at: Sequence[Any]) -> list[str]:
    cells = []
    for name, (_, form) in COLUMNS.items():
        low, high = (float(at[0][end]) for end in INTERVALS[name]) if name in INTERVALS else (math.nan, math.nan)
        single = with_ends(float(at[0][name]), low, high, form)
        cells.append(single if len(at) == 1 else over_seeds([each[name] for each in at], or_none(form)))
    return cells


def meaning(comparison: Comparison, every: Sequence[Configuration]) -> str:
    table = heard(every[0].told, "own_lines")[0].evaluation.tables["own_lines"]
    lines, text = int(table[table["of"] == OWN]["lines"].max()), table[table["of"] == TEXT].iloc[0]
    return (
        "Taught by true words alone (teacher forcing), an arm never has to go on from its own; here it does. At "
        f"{lines:,} places of the test text, "
        "after 100 true tokens or more, it says a line token by token, each drawn and read before the next (128 "
        f"at most), <unk> among them. Perplexity is that of a Kneser-Ney model of order "
        f"{comparison.evaluate['ngram_order']}, counted on text that no arm was trained on: the validation split and "
        f"the second half of the test split. The first half, {int(text['lines']):,} of its lines, is judged beside the "
        "arms. Self-BLEU: how far each line's n-grams of up to 4 tokens stand in the others too; distinct-n: different "
        "n-grams over all. Both hang on how many lines there are. 8-grams from training: the share that stands there "
        "word for word. A low temperature buys quality with variety: below the test text's perplexity lines are safer "
        "than real ones, and of two arms that one says better text which has less of the one for the same of the other "
        "(Caccia et al. 2020). Intervals resample lines; of several seeds: the median, and the range."
    )
