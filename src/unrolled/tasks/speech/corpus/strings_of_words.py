"""Recorded words -> sets of utterances: which recordings and which strings belong to which set.

train, valid, test    the same speakers; a tenth of each word's recordings is test, the next tenth valid, the rest train
unseen                speakers that no other set has
longer                as test, in longer strings than any that is trained on
free                  as test, where every word may follow every other; only where the grammar says otherwise
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from unrolled.shell.errors import UserError
from unrolled.tasks.speech.corpus.grammar import Grammar
from unrolled.tasks.speech.corpus.held_back import listed
from unrolled.tasks.speech.corpus.recordings import Recording
from unrolled.tasks.speech.corpus.utterances import Utterance, joined

FEWEST = 3  # recordings of a word by a speaker: one a split
OF_SETS = {"train": 1, "valid": 2, "test": 3, "unseen": 4, "longer": 5, "free": 6}  # what their draws differ by

OfSpeaker = Mapping[str, Mapping[str, Sequence[Recording]]]  # by speaker and word


def sets_of(recordings: Sequence[Recording], corpus: Mapping[str, Any], rate: int) -> dict[str, Iterator[Utterance]]:
    """The sets as they are to be written; ``corpus``: that section.

    UserError for a speaker that is not there, no speaker left to train on, a single word, and a word that a speaker has
    said too seldom or not at all.
    """
    by_speaker = _by_speaker(recordings)
    unseen = list(dict.fromkeys(corpus["unseen"]))
    for name in unseen:
        if name not in by_speaker:
            raise UserError(f"corpus.unseen: there is no speaker '{name}' (there are: {listed(sorted(by_speaker))})")
    seen = [name for name in sorted(by_speaker) if name not in unseen]
    if not seen:
        raise UserError("corpus.unseen names every speaker, and leaves none to train on")
    parts = {split: {name: _part(by_speaker[name], split) for name in seen} for split in ("train", "valid", "test")}
    words = sorted({each.word for each in recordings})
    if len(words) == 1:
        raise UserError(f"all recordings are of one word, '{words[0]}'; add others, strings take two at least")
    (low, high), seed, counts = corpus["lengths"], corpus["seed"], corpus["strings"]
    own = Grammar.drawn(words, corpus["branching"], low, high, seed)
    # Where all strings are of one word, one that is held back would be a word that training never says.
    strings_of = {split: split if high > 1 else None for split in parts}
    wanted: dict[str, tuple[Grammar, str | None, OfSpeaker]] = {
        split: (own, strings_of[split], of_split) for split, of_split in parts.items()
    }
    if unseen:
        wanted["unseen"] = own, strings_of["test"], {name: by_speaker[name] for name in unseen}
    if corpus["longer"]:
        longer = Grammar(own.words, own.followers, *corpus["longer"])
        wanted["longer"] = longer, None, parts["test"]
    if corpus["branching"] < len(words):
        wanted["free"] = Grammar.drawn(words, len(words), low, high, seed), strings_of["test"], parts["test"]
    return {
        name: _utterances(name, *of_set, count=counts.get(name, counts["test"]), rate=rate, seed=seed, own=own)
        for name, of_set in wanted.items()
    }


def _utterances(
    name: str, grammar: Grammar, split: str | None, recordings: OfSpeaker, *, count: int, rate: int, seed: int,
    own: Grammar,
) -> Iterator[Utterance]:  # fmt: skip
    """Each is drawn by its own number, so it is the same however many there are."""
    speakers = sorted(recordings)
    for number in range(count):
        draw = np.random.default_rng([seed, OF_SETS[name], number])
        speaker = speakers[int(draw.integers(len(speakers)))]
        string = grammar.draw(draw, split)
        made = joined(string, speaker, recordings[speaker], rate, f"{name} {number + 1}", draw)
        yield made._replace(costs=grammar.costs(string))


def _by_speaker(recordings: Sequence[Recording]) -> dict[str, dict[str, list[Recording]]]:
    found: dict[str, dict[str, list[Recording]]] = defaultdict(lambda: defaultdict(list))
    for each in recordings:
        found[each.speaker][each.word].append(each)
    words = {each.word for each in recordings}
    for speaker, of_words in found.items():
        for word in sorted(words):
            if (count := len(of_words.get(word, ()))) < FEWEST:
                raise UserError(
                    f"the speaker {speaker} has {count} recordings of '{word}'; it takes {FEWEST}, one for each of "
                    "training, validation and test"
                )
    return found


def _part(of_words: Mapping[str, Sequence[Recording]], split: str) -> dict[str, list[Recording]]:
    """By their numbers: a publisher that numbers takes from 0 to 49 has test 0 to 4, as is usual."""
    parts = {}
    for word, every in of_words.items():
        ordered = sorted(every, key=lambda each: each.number)
        tenth = max(1, len(ordered) // 10)
        ends = {"test": (0, tenth), "valid": (tenth, 2 * tenth), "train": (2 * tenth, len(ordered))}
        parts[word] = ordered[slice(*ends[split])]
    return parts
