"""A text with its label, and where it was read."""

from typing import NamedTuple


class LabelledText(NamedTuple):
    """``text``: one line, its words set apart by single spaces; ``place``: file and line, as a message names them.

    ``fold`` is set where the corpus' publisher has fixed the folds.
    """

    text: str
    label: str
    place: str
    fold: int | None = None


def one_line(text: str) -> str:
    """White space of any kind and length as single spaces."""
    return " ".join(text.split())
