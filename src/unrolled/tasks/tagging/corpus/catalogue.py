"""The tagged corpora: what is fetched of each. To add one: a line here, a reader in corpus.py, a name in settings."""

from unrolled.corpus.catalogue import CATALOGUE as PLAIN
from unrolled.corpus.catalogue import PublicFile, Source

UD = "https://raw.githubusercontent.com/UniversalDependencies"
LINES = f"{UD}/UD_English-LinES/9c1e6e98512f5f198f1689b64ffb165f211ae39f"
SEQUOIA = f"{UD}/UD_French-Sequoia/0e45d60d0d6fc41cc4a7a33e33afa8f0a72066d4"
NLTK = "https://raw.githubusercontent.com/nltk/nltk_data/5db857e6f7df11eabb5e5665836db9ec8df07e28/packages"


def _file(folder: str, name: str, sha256: str) -> PublicFile:
    return PublicFile(name, f"{folder}/{name}", sha256)


CATALOGUE: dict[str, Source] = {
    "lines": Source(  # release 2.17
        (
            _file(
                LINES,
                "en_lines-ud-train.conllu",
                "27609ded288bf3704def21f18d227e3f40957b4981174411f6bed34acf3025b6",
            ),
            _file(
                LINES,
                "en_lines-ud-dev.conllu",
                "3aabd1f843517fb615c8760c316a76125af2fff01c59b9a4049fe7c393891d2b",
            ),
            _file(
                LINES,
                "en_lines-ud-test.conllu",
                "14c56b50da6d8876ce1fdaa9b19c2845dfff73ff57766ddc2f812d88612ce3a8",
            ),
        )
    ),
    "sequoia": Source(  # release 2.16
        (
            _file(
                SEQUOIA,
                "fr_sequoia-ud-train.conllu",
                "56424954edf9d20a4d1184e37bfe931fb7c64da82bf2a587b4f35b828d79d767",
            ),
            _file(
                SEQUOIA,
                "fr_sequoia-ud-dev.conllu",
                "a5138dc5e8886484c2f8919e97113f56b9e4329e5cf2a999c021d6ee45e8b45d",
            ),
            _file(
                SEQUOIA,
                "fr_sequoia-ud-test.conllu",
                "a650e7a223fe191009ded17cedae740659449be20354bd68205c376de4ddef2d",
            ),
        )
    ),
    "brown": Source(
        (
            *PLAIN["brown"].files,
            _file(
                f"{NLTK}/taggers",
                "universal_tagset.zip",
                "d490e1ae8f5625dcdfdda04be15c22a2aade8c2561a36a61edcdf0c7d6aa8352",
            ),
        )
    ),
    "conll2000": Source(
        (
            _file(
                f"{NLTK}/corpora",
                "conll2000.zip",
                "01e65164f268366e7caa0db92332a1955d081908c87016e2c7640c3c5279b7cd",
            ),
        )
    ),
    "conllu": Source(own=True),
    "columns": Source(own=True),
}
