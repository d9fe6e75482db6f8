"""data/encoded read back: mapped, told apart, and every damage named."""

from pathlib import Path

import numpy as np
import pytest

from unrolled.corpus.encoded import MANIFEST, read_corpus
from unrolled.errors import UserError
from unrolled.sealed import seal


@pytest.fixture
def encoded(tmp_path: Path) -> Path:
    for name in ("train", "valid", "test", "counts"):
        np.save(tmp_path / f"{name}.npy", np.arange(len(name), dtype=np.uint16))
    (tmp_path / "tokenizer.json").write_text('{"a": 1}')
    seal(tmp_path / MANIFEST, {})
    return tmp_path


def test_a_split_is_memory_mapped(encoded: Path) -> None:
    tokens = read_corpus(encoded).train
    assert isinstance(tokens, np.memmap) and tokens.tolist() == [0, 1, 2, 3, 4]


def test_the_digest_tells_texts_and_vocabularies_apart(encoded: Path) -> None:
    digests = {read_corpus(encoded).digest}
    for name in ("tokenizer.json", "train.npy", "valid.npy", "test.npy"):
        (encoded / name).write_bytes((encoded / name).read_bytes()[:-1] + b"\1")
        (encoded / MANIFEST).unlink()
        seal(encoded / MANIFEST, {})
        digests.add(read_corpus(encoded).digest)
    assert len(digests) == 5


@pytest.mark.parametrize("name", ["train.npy", "valid.npy", "test.npy", "counts.npy", "tokenizer.json", MANIFEST])
@pytest.mark.parametrize("harm", ["removed", "emptied", "cut", "altered"])
def test_a_damaged_file_is_named_with_its_mend(encoded: Path, name: str, harm: str) -> None:
    path, content = encoded / name, (encoded / name).read_bytes()
    harmed = {"emptied": b"", "cut": content[:-3], "altered": content[:-4] + bytes([content[-4] ^ 1]) + content[-3:]}
    path.unlink()
    if harm in harmed:
        path.write_bytes(harmed[harm])
    with pytest.raises(UserError, match=rf"{name} (is missing|was altered|is damaged).*; make it again"):
        read_corpus(encoded)
