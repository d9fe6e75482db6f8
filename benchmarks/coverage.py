"""How often an interval holds the truth: docs/intervals.md, from splits of sources whose truth is known.

python -m benchmarks.coverage
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unrolled.ground.bootstrap import bootstrap_interval, paired_bootstrap

PAGE = Path(__file__).parents[1] / "docs" / "intervals.md"
SPLITS, SAMPLES, BLOCK = 1000, 500, 200
MEAN, OWN_SPREAD, NOISE = 4.5, 1.0, 3.0  # nats a token: of all documents, between them, within one
TYPICAL = 300.0  # tokens of a document: its median


class Source(NamedTuple):
    """Documents whose lengths are lognormal, each with a mean loss of its own; two models see the same documents.

    The mean loss a token is MEAN, as lengths and losses are independent; the second model is worse by 0.3 nats.
    """

    documents: int  # of a split
    spread: float  # of the logarithm of their lengths

    def split(self, random: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """The losses of both models [N] and the document of each [N]."""
        lengths = np.maximum(1, random.lognormal(np.log(TYPICAL), self.spread, self.documents)).astype(np.int64)
        document = np.repeat(np.arange(self.documents), lengths)
        shape = (MEAN / OWN_SPREAD) ** 2
        first = random.gamma(shape, MEAN / shape, self.documents)
        second = first + random.normal(0.3, 0.2, self.documents)
        noise = random.normal(0, NOISE, len(document))
        return first[document] + noise, second[document] + noise + random.normal(0, 1, len(document)), document


def coverage(source: Source, splits: int, samples: int = SAMPLES, seed: int = 1) -> dict[str, float]:
    """The share of splits whose 95 % interval holds the truth: of one model, of two, and by blocks of tokens alone."""
    random, held = np.random.default_rng(seed), dict.fromkeys(("one model", "difference", "blocks"), 0)
    for _ in range(splits):
        a, b, document = source.split(random)
        options: dict[str, Any] = {"block": BLOCK, "samples": samples, "seed": int(random.integers(2**32))}
        found = {
            "one model": (bootstrap_interval(a, document, **options), MEAN),
            "difference": (paired_bootstrap(b, a, document, **options).interval, 0.3),
            "blocks": (bootstrap_interval(a, np.zeros(len(a)), **options), MEAN),
        }
        for name, (interval, truth) in found.items():
            held[name] += interval.low <= truth <= interval.high
    return {name: count / splits for name, count in held.items()}


def lines() -> Iterator[str]:
    yield "| documents in the split | spread of log length | one model | difference of two | blocks of tokens instead |"
    yield "|--:|--:|--:|--:|--:|"
    for documents in (10, 20, 50, 150):
        for spread in (0.0, 0.7, 1.2):
            shares = coverage(Source(documents, spread), SPLITS).values()
            yield f"| {documents} | {spread} | {' | '.join(f'{share:.1%}' for share in shares)} |"


INTRODUCTION = f"""# Do the intervals hold what they promise?

A test split is a sample of documents: with another seed it would have had others. So documents are what is resampled
(sentences or speakers, for tasks whose splits draw those), each whole. Below, {SPLITS:,} splits of sources whose truth
is known: how many of their 95 % intervals hold it. Lengths are lognormal around {TYPICAL:.0f} tokens; each document has
a mean loss of its own, {OWN_SPREAD:g} nats apart from the others', and each token noise of {NOISE:g} nats.

Percentiles of the plain bootstrap are too narrow where there are few documents, or a few long ones; ours are expanded
for the effective number of documents (Hesterberg 2015, section 4.3; Kish 1965): (sum of lengths)^2 / sum of squared
lengths. The last column is what stretches of {BLOCK} tokens would have given: they do not see that a document is hard
as a whole. A split of fewer than ten documents has nothing better, and the report says so.

`python -m benchmarks.coverage` writes this page.
"""


def main() -> None:
    _, heading, behind = PAGE.read_text(encoding="utf-8").partition("\n## ")  # what was written by hand stays
    PAGE.write_text("\n".join([INTRODUCTION, *lines(), ""]) + heading + behind, encoding="utf-8")


if __name__ == "__main__":
    main()
