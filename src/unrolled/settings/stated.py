"""What of the sections corpus and vocabulary is kept with a corpus that was made with them."""

from collections.abc import Mapping
from typing import Any

# Keys that came later than others; at these values a text is read as it was before there were such keys.
LATER: Mapping[str, Any] = {
    "tokenised": "auto",
    "encoding": "utf-8",
    "field": None,
    "blank_lines": "drop",
    "normalise": None,
}
OF_ENCODING = ("name", "tokenised", "normalise")  # what the vocabulary stage heeds


def stated(corpus: Mapping[str, Any]) -> dict[str, Any]:
    """The section without the later keys, where they say nothing.

    So what was made before there were such keys is the same as ever, and need not be trained again. They are of the
    user's own plain text; of other corpora a publisher, or the source, has decided.
    """
    own = corpus["name"] == "text"
    return {key: value for key, value in corpus.items() if key not in LATER or (own and value != LATER[key])}


def stated_vocabulary(vocabulary: Mapping[str, Any]) -> dict[str, Any]:
    """The section vocabulary without what is of other units than its own."""
    others = ("min_count", "max_size") if vocabulary["unit"] == "subword" else ("subwords", "size")
    return {key: value for key, value in vocabulary.items() if key not in others}
