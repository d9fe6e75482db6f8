"""The readers of public corpora: an archive as its publisher distributes it -> labelled texts."""

import re
from collections.abc import Iterator
from pathlib import Path

from unrolled.corpus.files.text_files import zip_documents
from unrolled.tasks.classification.corpus.labelled import LabelledText, one_line

POLARITIES = {"neg": "negative", "pos": "positive"}


def sentence_polarity(archive: Path) -> Iterator[LabelledText]:
    """Pang and Lee's sentence polarity: a file a label, a sentence a line; no split is published."""
    for document in zip_documents(archive):
        if found := re.fullmatch(r"sentence_polarity/rt-polarity\.(neg|pos)", document.name):
            for number, line in enumerate(document.lines(), 1):
                yield LabelledText(one_line(line), POLARITIES[found[1]], f"{document.name}:{number}")


def movie_reviews(archive: Path) -> Iterator[LabelledText]:
    """Pang and Lee's polarity dataset: a folder a label, a review a file; cv0.. to cv9.. are the publisher's folds."""
    for document in zip_documents(archive):
        if found := re.fullmatch(r"movie_reviews/(neg|pos)/cv(\d)\d\d_\d+\.txt", document.name):
            text = one_line(" ".join(document.lines()))
            yield LabelledText(text, POLARITIES[found[1]], document.name, int(found[2]))
