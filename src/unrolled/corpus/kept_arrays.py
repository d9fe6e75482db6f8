"""What is known of made-up text, carried from data/text to data/encoded; see `made_up.py`."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from unrolled.ground.checksums import load
from unrolled.ground.corpus import SOURCE
from unrolled.ground.special_tokens import UNKNOWN_ID
from unrolled.shell.errors import UserError


def keep_what_is_known(text: Path, encoded: Path, tokens: Mapping[str, int]) -> None:
    """Arrays of a value for each token of a split; ``tokens``: how many ``encoded`` has of each."""
    for path in sorted(text.glob("*.npy")):
        split, _, name = path.stem.partition(".")
        if name == "lines" or split not in tokens:
            continue
        array = load(text, path.name, lambda path: np.load(path, allow_pickle=False))
        if len(array) != tokens[split]:
            raise UserError(f"{text / path.name} is of {len(array):,} tokens, where there are {tokens[split]:,}")
        np.save(encoded / path.name, array)


def keep_the_source(text: Path, encoded: Path, tokenizer: Tokenizer, unknown: int) -> None:
    """What made-up text is drawn from; in place of its words their ids, [W].

    ``unknown``: how many words of the test split are. UserError where some are, for the floors are of the words.
    """
    for path in sorted(text.glob(f"{SOURCE}.*.npy")):
        array = load(text, path.name, lambda path: np.load(path, allow_pickle=False))
        if path.name == f"{SOURCE}.words.npy":
            known = {word: tokenizer.token_to_id(word) for word in array.tolist()}
            if unknown:
                rare = next(word for word, each in known.items() if each is None)
                raise UserError(
                    f"tokens of the test text, {unknown:,} of them, are words that training never shows ({rare!r} is "
                    "such a word), so no floor is that of a vocabulary without them; raise corpus.source.tokens, or "
                    "take such words out of the source"
                )
            ids = [UNKNOWN_ID if each is None else each for each in known.values()]
            np.save(encoded / f"{SOURCE}.ids.npy", np.array(ids, dtype=np.int64))
        else:
            np.save(encoded / path.name, array)
