"""What the ladders of recipes say of language models; apart from report.py, for it needs no network."""

from typing import NamedTuple


class Words(NamedTuple):
    """What a ladder says, and which figures it shows."""

    page: str  # its name in docs/
    title: str
    introduction: tuple[str, ...]
    shown: float  # perplexity: above, a rung is in the table but not in the figure
    ticks: tuple[int, ...]


MADE = (
    "`unrolled use RECIPE` and then `dvc repro` make a rung; `unrolled keep RECIPE` notes what it reached, and this",
    "page is written from those notes. Mean over seeds, and the largest distance from it; the interval is the first",
    "seed's, by bootstrap over blocks of tokens. Minutes are of the clock, waits for other work included, and the",
    "median over seeds.",
)
# By corpus; perplexities of different texts do not compare. Recipes of a corpus that has none stand on the first.
LADDERS = {
    "ptb": Words(
        "ladder",
        "The ladder: known perplexities of the Penn Treebank",
        (
            "Mikolov's split, 10,000 types, `<eos>` scored, the state carried on from sentence to sentence, each test",
            "token once.",
            *MADE,
            "What a head reaches that sees both sides of its target is no perplexity, and has a column of its own.",
        ),
        300,
        (50, 60, 70, 80, 90, 100, 110, 120, 130, 140, 150, 170, 200),
    ),
    "wikitext-2": Words(
        "ladder-wikitext-2",
        "The ladder: known perplexities of WikiText-2",
        (
            "The publisher's split, 2,088,628 / 217,646 / 245,569 tokens with `<eos>`, 33,278 types, blank lines kept,",
            "the state carried on from paragraph to paragraph, each test token once.",
            *MADE,
        ),
        300,
        (60, 70, 80, 90, 100, 110, 120, 130, 140, 150, 170, 200, 250),
    ),
}
VALID = "valid_perplexity"  # in the notes of `unrolled keep`: what the best epoch was chosen by
# By score, what the validation split chose to reach it: its name in the notes, and what it is called.
CHOSEN = {"temperature_perplexity": ("softmax_temperature", "temperature")}
