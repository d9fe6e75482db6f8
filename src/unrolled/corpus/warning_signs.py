"""What makes the figures of a corpus mislead, said before anything is trained on it."""

MANY_UNKNOWN = 0.2  # share of the test split's tokens
FEW_WORDS = 50  # types
SEEN = 0.5  # share of the test split that training shows


def warnings_of(
    unknown: float, types: int, seen: float | None, unit: str, min_count: int, max_size: int | None
) -> dict[str, str]:
    """A line each, by a name; ``unknown``, ``seen``: shares of the test split, this None where it is too short.

    ``min_count``, ``max_size``: what the vocabulary was built with; settings that hide no word are not offered.
    """
    found = {}
    if unknown > MANY_UNKNOWN:
        mends = ["lower vocabulary.min_count"] if min_count > 1 else []
        mends += ["raise vocabulary.max_size"] if max_size is not None else []
        mends += ["give more text"] + (["set vocabulary.unit=subword"] if unit == "word" else [])
        mend = ", or ".join(filter(None, [", ".join(mends[:-1]), mends[-1]]))
        found["unknown"] = f"{unknown:.0%} of the test split is <unk>, which lowers perplexity; {mend}"
    if unit == "word" and types < FEW_WORDS:
        found["few_types"] = (
            f"the vocabulary is of {types} types only: are these words? vocabulary.unit=character reads letters, "
            "subword parts of words"
        )
    if seen is not None and seen > SEEN:
        found["seen_in_training"] = (
            f"{seen:.0%} of the test split stands word for word in training, so its perplexity says what was learnt by "
            "heart; leave out what repeats itself"
        )
    return found
