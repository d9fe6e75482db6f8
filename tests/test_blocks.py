"""Blocks of a file: nothing lost, no line cut, and the same results whoever reads them."""

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.corpus import blocks
from unrolled.corpus.blocks import Block, blocks_of, pool_for, processes
from unrolled.corpus.encode_file import Encoder, encode_files
from unrolled.corpus.vocabulary import build_tokenizer
from unrolled.shell.errors import UserError

LINES = st.lists(st.text("aé漢😀\r \u2028.", max_size=6), max_size=12)


@given(LINES, st.integers(1, 12), st.booleans())
def test_blocks_are_the_file_and_end_with_its_lines(lines: list[str], size: int, ended: bool) -> None:
    """Though SIZE falls within letters of several bytes and between \\r and \\n."""
    content = "\n".join(lines).encode() + b"\n" * ended
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "SIZE", size)
        (path := Path(folder) / "text").write_bytes(content)
        found = list(blocks_of(path))
        read = [block.read() for block in found]
    assert b"".join(read) == content
    assert all(len(text) >= size for text in read[:-1])
    assert all(text.find(b"\n", size - 1) in (-1, len(text) - 1) for text in read)
    assert all(text.endswith(b"\n") for text in read[:-1])


def test_processes_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"Zoë said word{number % 7} , 漢字 {number}" for number in range(60)]
    (tmp_path / "text").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (tmp_path / "end").write_text("said\n")
    tokenizer = build_tokenizer(lines[::2], unit="word", min_count=2)
    encoder = Encoder(tokenizer)
    monkeypatch.setattr(blocks, "SIZE", 300)

    def encoded(count: int) -> tuple[bytes, object]:
        monkeypatch.setenv("UNROLLED_PROCESSES", str(count))
        files = [
            (tmp_path / "text", tmp_path / "ids.npy", [7] * 8 + [4]),
            (tmp_path / "end", tmp_path / "end.npy", [1]),
        ]
        with pool_for((tmp_path / "text").stat().st_size) as pool:
            assert list(pool.in_order(abs, range(-3, 0))) == [3, 2, 1]  # and then another work
            found, end = encode_files(encoder, files, pool)
        assert np.load(tmp_path / "end.npy").tolist() == [tokenizer.token_to_id("said"), 1] and end.tokens == 2
        assert found.documents.tolist() == np.cumsum([0, *tokens_of_documents[:-1]]).tolist()
        return (tmp_path / "ids.npy").read_bytes(), (found.counts.tolist(), found.unknown, found.characters)

    words = [len(tokenizer.encode(line).ids) for line in lines]
    tokens_of_documents = [sum(words[first : first + 7]) for first in range(0, 60, 7)]
    alone = encoded(3)  # too small a text for more than one
    monkeypatch.setattr(blocks, "WORTH_IT", 0)
    # As processes are, but started in no time: each thread unpickles the work for itself.
    monkeypatch.setattr(blocks, "ProcessPoolExecutor", lambda count, *_: ThreadPoolExecutor(count))
    assert encoded(1) == alone == encoded(2) == encoded(3)


def test_processes_give_results_in_order_and_one_that_is_killed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNROLLED_PROCESSES", "2")
    with pool_for(blocks.WORTH_IT) as pool:
        assert list(pool.in_order(abs, range(-30, 0))) == list(range(30, 0, -1))
        with pytest.raises(UserError, match=r"was killed, most likely for lack of memory.*UNROLLED_PROCESSES=1"):
            list(pool.in_order(signal.raise_signal, [signal.SIGKILL]))


def test_what_is_no_number_of_processes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNROLLED_PROCESSES", "")
    assert processes() >= 1
    for wrong in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv("UNROLLED_PROCESSES", wrong)
        with pytest.raises(UserError, match="UNROLLED_PROCESSES must be a number from 1 on"):
            processes()


def test_an_empty_file_has_no_blocks(tmp_path: Path) -> None:
    (tmp_path / "text").touch()
    assert not list(blocks_of(tmp_path / "text"))
    assert not Block(tmp_path / "text", 0, 0).read()
