"""Made-up text: sentences that arms say of their own, as the source judges them."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from unrolled.report.arms import Arm
from unrolled.report.markdown import over_seeds
from unrolled.report.sections import Table
from unrolled.report.seeds import Configuration
from unrolled.tasks.language_model.finishing.cells import Form, heard, or_none, with_ends

# Figures of own_sentences.csv: in which of the two tables, under what heading, and how it reads.
SAID: dict[str, tuple[str, Form]] = {
    "grammatical": ("grammatical", "{:.1%}".format),
    "grammatical_nats": ("nats of these", "{:.2f}".format),
    "own_tokens": ("tokens", "{:.1f}".format),
    "own_agreement": ("verbs agree", "{:.1%}".format),
    "finish_accuracy": ("in true sentences", "{:.1%}".format),
    "greedy_accuracy": ("greedy", "{:.1%}".format),
}
PAID: dict[str, tuple[str, Form]] = {
    "forward_kl": ("forward KL", "{:.3f}".format),
    "reverse_kl": ("reverse KL", "{:.3f}".format),
    "forced_nats": ("nats, true words read", "{:.2f}".format),
    "own_words_nats": ("nats, own words read", "{:.2f}".format),
    "prefix_price": ("price of own prefixes", "{:+.1f} %".format),
}


def shown(every: Sequence[Configuration]) -> list[Table]:
    """Of configurations that were heard."""
    found = [_figures("own sentences", SAID, every), _figures("nats", PAID, every)]
    return [*found, _by_distance(every)] if heard(every[0].told, "own_by_distance") else found


def _figures(heading: str, shown: Mapping[str, tuple[str, Form]], every: Sequence[Configuration]) -> Table:
    """Configurations, and below them what a perfect model would reach: a range where arms read in several ways."""
    told = [_by_figure(arm) for each in every for arm in heard(each.told, "own_sentences")]
    names = [name for name in shown if name in told[0].index]
    rows = [[each.name, *(_cell(each, name, shown[name][1]) for name in names)] for each in every]
    best = {name: pd.Series([figures["perfect"][name] for figures in told]).unique().tolist() for name in names}
    perfect = [over_seeds(best[name], or_none(shown[name][1])) for name in names]
    return [heading, *(shown[name][0] for name in names)], [*rows, ["*a perfect model*", *perfect]]


def _by_figure(arm: Arm) -> pd.DataFrame:
    return arm.evaluation.tables["own_sentences"].set_index("figure")


def _cell(each: Configuration, name: str, form: Form) -> str:
    """Of one seed with its interval over sentences; of several the median and the range."""
    found = [_by_figure(arm) for arm in heard(each.told, "own_sentences")]
    if len(found) > 1:
        return over_seeds([float(figures["value"][name]) for figures in found], or_none(form))
    value, low, high = (float(found[0][end][name]) for end in ("value", "low", "high"))
    return with_ends(value, low, high, form)


def _by_distance(every: Sequence[Configuration]) -> Table:
    """Of each distance the share of verbs that agree, in sentences of its own."""
    bins = heard(every[0].told, "own_by_distance")[0].evaluation.tables["own_by_distance"]
    ends = [(int(low), high) for low, high in bins[["shortest", "longest"]].itertuples(index=False)]
    said = [
        f"{low}" if low == high else f"{low} to {high:.0f}" if math.isfinite(high) else f"{low} on"
        for low, high in ends
    ]
    rows = []
    for each in every:
        values = [arm.evaluation.tables["own_by_distance"]["own"] for arm in heard(each.told, "own_by_distance")]
        rows.append([each.name, *(over_seeds(of, or_none("{:.2f}".format)) for of in zip(*values, strict=True))])
    return ["own verbs that agree, by distance", *said], rows


def meaning(every: Sequence[Configuration]) -> list[str]:
    figures = _by_figure(heard(every[0].told, "own_sentences")[0])
    perfect, sentences = figures["perfect"], int(figures["sentences"]["own_tokens"])
    forced, entropy = (perfect[name] for name in ("forced_nats", "grammatical_nats"))
    said = [
        "Taught by true words alone (teacher forcing), an arm never has to go on from its own words; here it does. At "
        f"{sentences:,} places of the test text, after 100 true tokens or more, it says a sentence word by word, each "
        "drawn at temperature 1 and read before the next; an arm that was trained on each sentence by itself begins "
        "from a zero state. What has not ended after 512 tokens is not grammatical. The source that the text was drawn "
        "from judges it, exactly. All arms are given the same chances, and so share their luck. Intervals resample "
        "sentences; of several seeds: the median, and the range.",
        "Forward KL: what the arm pays for a true sentence beyond the floor; it rises where the arm does not expect "
        "what the source says. Reverse KL: the mean of ln q - ln p over its own sentences; it rises where the arm says "
        "what the source would not. An ungrammatical sentence has p = 0, so that 1 % of uniform words is mixed into "
        "p. Neither replaces the other, nor does the cost of grammatical sentences under the source: below "
        f"{entropy:.2f} nats, its entropy, an arm says likely sentences too often, and one that said nothing but the "
        "likeliest would cost least of all. That is collapse, not quality.",
        "Own words read: given the first word of a true sentence, the arm reads words that it draws, and pays for the "
        "true ones. To train on that, on own words always, is improper (Huszar 2015): they say nothing of the true "
        f"ones, so that the best that any model can reach is {_bound(every)}, where true words read "
        f"allow {forced:.2f}; and it is reached by who ignores all but the first word and counts places. Such a model "
        "keeps what the first word says and loses the grammar. An arm that was trained on true words pays more, for it "
        f"believes what it reads. Paid here: {_paid(every)}.",
        "Price of own prefixes: how far the arm's next word is from the source's (a skew divergence) after words of "
        "its own, over how far it is after true ones, at the same places and where the source could have written the "
        "prefix too. That is exposure bias: 0 says that there is none, below 0 that own words are easier to go on "
        "from than true ones.",
    ]
    if "own_agreement" in figures.index:
        said.append(
            "Verbs agree: of the sentences that begin with a subject and have a verb. In true sentences: how likely "
            "the agreeing verb is where all before it is true; greedy: how often it is the likeliest. "
            f"A perfect model agrees in {perfect['own_agreement']:.1%} and not in all, as the text does."
        )
    return said


def _bound(every: Sequence[Configuration]) -> str:
    """Known of all arms alike, or of those alone that begin anew at each sentence."""
    arms = [arm for each in every for arm in heard(each.told, "own_sentences")]
    bounds = {float(_by_figure(arm)["perfect"]["own_words_nats"]) for arm in arms}
    known = sorted(filter(math.isfinite, bounds))
    return f"{known[0]:.2f} nats a sentence" if known else "not known here"


def _paid(every: Sequence[Configuration]) -> str:
    form = SAID["grammatical_nats"][1]
    values = {
        each.name: [float(_by_figure(arm)["value"]["own_words_nats"]) for arm in heard(each.told, "own_sentences")]
        for each in every
    }
    return ", ".join(f"{name} {over_seeds(found, or_none(form))}" for name, found in values.items())
