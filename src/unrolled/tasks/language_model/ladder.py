"""What the ladder of recipes says of language models; apart from report.py, for it needs no network."""

TITLE = "The ladder: known perplexities of the Penn Treebank"
INTRODUCTION = (
    "Mikolov's split, 10,000 types, `<eos>` scored, the state carried on from sentence to sentence, each test",
    "token once. `unrolled use RECIPE` and then `dvc repro` make a rung; `unrolled keep RECIPE` notes what it",
    "reached, and this page is written from those notes. Mean over seeds, and the largest distance from it;",
    "the interval is the first seed's, by bootstrap over blocks of tokens. What a head reaches that sees both",
    "sides of its target is no perplexity, and has a column of its own.",
)
VALID = "valid_perplexity"  # in the notes of `unrolled keep`: what the best epoch was chosen by
SHOWN = 300  # perplexity: above, a rung is in the table but not in the figure
TICKS = (50, 60, 70, 80, 90, 100, 110, 120, 130, 140, 150, 170, 200)
