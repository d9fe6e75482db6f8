"""What cannot fit into memory is refused in one line, before a byte of it is taken; what was taken is kept."""

import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from miniature import whole_arm
from unrolled.recurrence.cells import CELLS
from unrolled.recurrence.stack import CONNECTIONS
from unrolled.shell import memory
from unrolled.shell.errors import UserError
from unrolled.shell.memory import check_memory
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.settings import parameters

SIZES = {"vocabulary": 11}
CPU = torch.device("cpu")


def changed(**changes: Any) -> dict[str, Any]:
    return whole_arm("lstm-clipped-1", **changes)


@pytest.mark.parametrize("connection", CONNECTIONS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_weights_are_counted_as_the_network_has_them(cell: str, connection: str, bidirectional: bool) -> None:
    sizes = {"embedding": 5, "hidden": [3, 6, 2, 4] if connection == "plain" else 3, "layers": 4, "tied": False}
    settings = changed(cell=cell, connection=connection, bidirectional=bidirectional, **sizes)["network"]
    matrices = [each for each in Network(11, **settings).parameters() if each.ndim == 2]
    assert parameters(settings, SIZES) == sum(each.numel() for each in matrices)


@pytest.mark.parametrize("cutoffs", [[2], [3, 7], [4, 11], [11, 12]])
def test_the_weights_of_an_adaptive_softmax_are_counted_too(cutoffs: list[int]) -> None:
    sizes = {"embedding": 5, "hidden": 9, "tied": False, "softmax": "adaptive", "cutoffs": cutoffs}
    settings = changed(**sizes)["network"]
    matrices = [each for each in Network(11, **settings).parameters() if each.ndim == 2]
    assert parameters(settings, SIZES) == sum(each.numel() for each in matrices)


def test_a_vocabulary_that_is_too_large_has_two_ways_out() -> None:
    with pytest.raises(UserError, match=r"lower vocabulary.max_size .*, or set network.softmax: adaptive"):
        check_memory(changed(hidden=2**10, embedding=2**10), {"vocabulary": 10**8}, CPU)


@pytest.mark.parametrize(
    ("changes", "mend"),
    [
        ({"hidden": 2**16, "embedding": 2**16}, "network.hidden"),
        ({"layers": 1000, "hidden": 4096, "embedding": 4096}, "network.hidden, network.embedding or network.layers"),
        ({"columns": 10**7, "window": 10**4}, "train.window or train.columns"),
        ({"window": 10**9}, "train.window or train.columns"),
    ],
)
def test_what_no_memory_holds_is_told(changes: dict[str, Any], mend: str) -> None:
    with pytest.raises(UserError, match=rf"lstm-clipped-1: training takes more than [\d,.]+ GB .*; lower {mend}"):
        check_memory(changed(**changes), SIZES, CPU)


def test_what_just_fits_is_let_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = changed(hidden=8, embedding=8, window=10, columns=4)
    need = 4 * (2 * parameters(settings["network"], SIZES) + 10 * 4 * 4 * 8)
    monkeypatch.setattr(memory, "available", lambda: need)
    check_memory(settings, SIZES, CPU)
    monkeypatch.setattr(memory, "available", lambda: need - 1)
    check_memory(changed(hidden=8, embedding=8, window=10, columns=4, reset="sentence"), SIZES, CPU)  # of any length
    with pytest.raises(UserError, match="takes more than"):
        check_memory(settings, SIZES, CPU)


@pytest.mark.parametrize(("content", "expected"), [("4096\n", 4096), ("max\n", None), (str(2**63), None), (None, None)])
def test_a_container_may_allow_less_than_the_machine_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, expected: int | None
) -> None:
    monkeypatch.setattr(memory, "CONTAINER", ())
    of_machine = memory.available()
    limit = tmp_path / "memory.max"
    if content is not None:
        limit.write_text(content)
    monkeypatch.setattr(memory, "CONTAINER", (limit,))
    assert memory.available() == (expected or of_machine)


STEPS = """
import ctypes, resource
from unrolled.shell.malloc import keep_freed_memory
system = ctypes.CDLL(None)
system.malloc.restype, system.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
system.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
size = 12 * 2**20
def fresh_pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def a_step():
    arrays = [system.malloc(size) for _ in range(8)]
    for array in arrays:
        system.memset(array, 1, size)
    for array in arrays:
        system.free(array)
def fresh_pages_of_a_step():
    for _ in range(3):
        a_step()
    before = fresh_pages()
    for _ in range(10):
        a_step()
    return (fresh_pages() - before) // 10
print(fresh_pages_of_a_step())
assert keep_freed_memory()
print(fresh_pages_of_a_step())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are glibc's")
def test_a_step_finds_again_the_memory_that_the_step_before_it_freed() -> None:
    left_alone, kept = map(int, subprocess.check_output([sys.executable, "-c", STEPS]).split())
    assert left_alone > 1000 > 10 >= kept
