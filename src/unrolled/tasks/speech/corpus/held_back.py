"""Which utterances are trained on, and which are held back to validate and test."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from unrolled.ground.corpus import SPLITS
from unrolled.shell.errors import UserError

FEWEST = 3  # speakers, or utterances: one a split


def splits_of(
    speakers: Sequence[str | None], stated: Sequence[str | None], *, unseen: Sequence[str],
    shares: Mapping[str, float], seed: int,
) -> tuple[list[str], str]:  # fmt: skip
    """The set of each utterance, "unseen" where its speaker is named so, and how they were split, in words.

    What is ``stated`` holds. Else whole speakers are held back where there are three at least, and utterances where
    there are fewer; ``shares``: of test and valid, at least so much of the utterances. UserError where a split would be
    empty, or a speaker is not there.
    """
    _check_unseen(speakers, unseen)
    rest = [place for place, speaker in enumerate(speakers) if speaker not in unseen]
    if not rest:
        raise UserError("corpus.unseen names every speaker, and leaves none to train on")
    known = {speaker for place in rest if (speaker := speakers[place]) is not None}
    if stated[rest[0]] is not None:
        chosen, how = [str(stated[place]) for place in rest], "as the column split of the transcript says"
    elif len(known) >= FEWEST:
        of_speakers = _speakers_held_back([str(speakers[place]) for place in rest], shares, seed)
        chosen = [of_speakers[str(speakers[place])] for place in rest]
        counts = Counter(of_speakers.values())
        how = ", ".join(f"{name} {counts[name]}" for name in SPLITS) + f" speakers, each in one split; seed {seed}"
    else:
        chosen, how = _drawn(len(rest), shares, seed), f"utterances drawn, the speakers in all splits; seed {seed}"
    if empty := [name for name in SPLITS if name not in chosen]:
        mend = "say so in the column split" if stated[rest[0]] is not None else "add some, or lower corpus.test_share"
        said = f"{len(rest)} utterances, and none of them falls into {' and '.join(empty)}"
        raise UserError(f"{said}; each takes one: {mend}")
    sets = ["unseen"] * len(speakers)
    for place, name in zip(rest, chosen, strict=True):
        sets[place] = name
    return sets, how


def _check_unseen(speakers: Sequence[str | None], unseen: Sequence[str]) -> None:
    there = sorted({speaker for speaker in speakers if speaker is not None})
    for name in unseen:
        if not there:
            raise UserError("corpus.unseen names speakers, but the transcript has no column of speakers; add one")
        if name not in there:
            raise UserError(f"corpus.unseen: there is no speaker '{name}' (there are: {listed(there)})")


def listed(names: Sequence[str], most: int = 12) -> str:
    """The names, the first ones where they are many."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def _speakers_held_back(speakers: Sequence[str], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """The split of each speaker: drawn until their utterances are enough, while half of all is left to train on.

    Where every speaker would leave less than half, the one who says least is held back.
    """
    counts = Counter(speakers)
    names = sorted(counts)
    order = [names[place] for place in np.random.default_rng([seed, 7]).permutation(len(names))]
    left, splits = len(speakers), dict[str, str]()
    for number, (split, share) in enumerate(shares.items()):
        held, needed = 0, len(shares) - number  # a speaker each for the next splits, and to train on
        for name in order:
            free = name not in splits and len(names) - len(splits) > needed
            if free and held < share * len(speakers) and 2 * (left - counts[name]) >= len(speakers):
                splits[name] = split
                held, left = held + counts[name], left - counts[name]
        if not held:
            name = min((name for name in order if name not in splits), key=counts.__getitem__)
            splits[name] = split
            left -= counts[name]
    return {name: splits.get(name, "train") for name in names}


def _drawn(count: int, shares: Mapping[str, float], seed: int) -> list[str]:
    order = np.random.default_rng([seed, 7]).permutation(count)
    test, valid = (max(1, math.ceil(share * count)) for share in (shares["test"], shares["valid"]))
    splits = ["train"] * count
    for rank, place in enumerate(order.tolist()):
        splits[place] = "test" if rank < test else "valid" if rank < test + valid else "train"
    return splits
