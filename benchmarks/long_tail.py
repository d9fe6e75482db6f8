"""Made-up text of any size whose words are as rare as those of natural text: most types occur once, however long it is.

`python -m benchmarks.long_tail 1000 file.txt` writes 1,000 MB of it.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import numpy as np

EXPONENT, SHIFT = 1.3, 2.7  # Zipf-Mandelbrot's: p(r) ~ (r + SHIFT) ** -EXPONENT; of an English text 1.0 to 1.4, and 2.7
RANKS = 1 << 40  # where the tail is cut off
MEAN_LENGTH, SPREAD = 20.0, 0.6  # of sentences in words: a lognormal
SENTENCES = 3.0  # a line, on average
COMMAS = 0.06  # share of words that have one behind them
BLOCK = 1 << 16  # words drawn at a time
SYLLABLES = (
    *("ta", "ne", "ri", "so", "lu", "da", "en", "ker", "mi", "is", "ho", "ve", "al", "tor", "ga"),
    *("fi", "un", "ler", "bo", "pa", "se", "wi", "chi", "re", "no", "ster", "du", "ma", "gli", "né"),
)

Array = np.ndarray[Any, np.dtype[Any]]


def long_tail(size: int, seed: int) -> Iterator[str]:
    """Text in blocks, of ``size`` bytes in UTF-8 and what its last line has more; the same for the same seed."""
    chance = np.random.default_rng(seed)
    words = cache(_word)
    while size > 0:
        drawn = [words(rank) if rank < BLOCK else _word(rank) for rank in ranks(chance, BLOCK).tolist()]
        text = _lines(drawn, chance)
        size -= len(text.encode())
        yield text


def ranks(chance: np.random.Generator, size: int) -> Array:
    """From 1: Zipf-Mandelbrot's by its continuous form, whose inverse is known; int64 [size]."""
    survival = 1.0 - chance.random(size)
    drawn = (1 + SHIFT) * survival ** (-1 / (EXPONENT - 1)) - SHIFT
    return np.minimum(drawn, RANKS).astype(np.int64)


def _word(rank: int) -> str:
    """Another for each rank, the rarer the longer: its digits are syllables."""
    word = ""
    while rank:
        rank, digit = divmod(rank, len(SYLLABLES))
        word += SYLLABLES[digit]
    return word


def _lines(words: list[str], chance: np.random.Generator) -> str:
    """The words as sentences, several a line."""
    for at in np.flatnonzero(chance.random(len(words)) < COMMAS).tolist():
        words[at] += ","
    start = 0
    while start < len(words):
        end = min(len(words), start + 1 + int(chance.lognormal(np.log(MEAN_LENGTH) - SPREAD**2 / 2, SPREAD)))
        words[start] = words[start].capitalize()
        words[end - 1] = words[end - 1].rstrip(",") + (".\n" if chance.random() < 1 / SENTENCES else ".")
        start = end
    words[-1] = words[-1].removesuffix("\n") + "\n"
    return " ".join(words).replace("\n ", "\n")


def write_long_tail(path: Path, size: int, seed: int = 1) -> int:
    """``size`` bytes of it, or a line more; what it came to."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(long_tail(size, seed))
    return path.stat().st_size


@click.command()
@click.argument("megabytes", type=click.FloatRange(min=0, min_open=True))
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--seed", default=1, show_default=True)
def main(megabytes: float, path: Path, seed: int) -> None:
    """Write so many MEGABYTES of made-up text to PATH."""
    click.echo(f"{write_long_tail(path, int(megabytes * 1e6), seed):,} bytes")


if __name__ == "__main__":
    main()
