"""What makes the figures of a corpus mislead, said before anything is trained on it."""

MANY_UNKNOWN = 0.2  # share of the test split's tokens
FEW_WORDS = 50  # types
SEEN = 0.5  # share of the test split that training shows


def warnings_of(unknown: float, types: int, seen: float | None, unit: str) -> dict[str, str]:
    """A line each, by a name; ``unknown``, ``seen``: shares of the test split, this None where it is too short."""
    found = {}
    if unknown > MANY_UNKNOWN:
        mend = ", or set vocabulary.unit=subword" if unit == "word" else ""
        found["unknown"] = (
            f"{unknown:.0%} of the test split is <unk>, which lowers perplexity; lower vocabulary.min_count, raise "
            f"vocabulary.max_size, give more text{mend}"
        )
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
