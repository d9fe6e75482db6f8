"""Coverage-guided fuzzing of what reads foreign bytes: python tests/fuzz.py TARGET [libFuzzer's options].

What is not refused by a UserError must be read; anything else that is raised ends the run, and libFuzzer leaves the
input in a file crash-*. Not a test: it has no end of its own.
"""

import gzip
import hashlib
import io
import sys
import tempfile
import zipfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import atheris

import unrolled.bptt  # with what numba compiles, which it can no more once atheris has been there
import unrolled.nets.softmax_loss  # noqa: F401

with atheris.instrument_imports(include=["unrolled", "ruamel", "zipfile", "gzip", "json"]):
    import numpy as np

    from unrolled.corpus import text_files
    from unrolled.corpus.text_files import text_documents
    from unrolled.errors import UserError
    from unrolled.lab import checkpoint
    from unrolled.lab.checkpoint import Checkpoint
    from unrolled.lab.fit import Training, fit
    from unrolled.lab.ledger import Ledger
    from unrolled.lab.runs import Run
    from unrolled.sealed import json_of, seal
    from unrolled.settings import PARAMS, Settings

ROOT = Path(__file__).parents[1]
PLACE = Path(tempfile.mkdtemp())
RUN, KEPT = PLACE / "runs" / "arm", PLACE / "arm.safetensors"


def settings(data: bytes) -> None:
    (PLACE / PARAMS).write_bytes(data)
    for arm in Settings.arms(PLACE / PARAMS):
        Settings.load(PLACE / PARAMS, arm)


def text(suffix: str, data: bytes) -> None:
    (PLACE / f"a{suffix}").write_bytes(data)
    for document in text_documents(PLACE / f"a{suffix}", None):
        for _ in document.lines():
            pass


def run(data: bytes) -> None:
    """The first byte says which file of a run the others take the place of; it is sealed anew, or is the seal."""
    if not data:
        return
    kept = {path: path.read_bytes() for path in sorted(RUN.iterdir())}
    chosen = list(kept)[data[0] % len(kept)]
    chosen.write_bytes(data[1:])
    try:
        if chosen.name != "summary.json":
            content = json_of(RUN / "summary.json")
            (RUN / "summary.json").unlink()
            seal(RUN / "summary.json", {name: content[name] for name in content if name not in ("seal", "files")})
        Run.read(RUN)
    finally:
        for path, content in kept.items():
            path.write_bytes(content)


def kept(data: bytes) -> None:
    """What a reader raises is a damaged checkpoint; only what is no Exception, or kills the process, is a finding."""
    KEPT.write_bytes(data)
    try:
        checkpoint._read(KEPT)
    except Exception:
        return


def trained() -> None:
    """A run directory and a checkpoint, as small as can be."""
    whole = Settings.load(ROOT / PARAMS, "lstm-clipped")
    network = whole.network.model_copy(update={"embedding": 1, "hidden": 1})
    train = whole.train.model_copy(update={"epochs": 1, "columns": 2, "window": 2})
    arm = whole.model_copy(update={"network": network, "train": train})
    training = Training.of(arm, 3)
    ledger = Ledger(training)
    tokens = (np.arange(20) % 3).astype(np.uint16)
    for record in islice(fit(training, tokens, tokens, eos=1), 8):
        ledger.add(record)
    ledger.write(RUN, arm, "corpus")
    Checkpoint(KEPT, training, ledger, arm, "corpus").write()


def zipped(method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name in ("a.txt", "b/c.txt"):
            archive.writestr(zipfile.ZipInfo(name), b"one line\nand another\n", method)
    return file.getvalue()


def seeds(target: str) -> list[bytes]:
    """Inputs to begin with."""
    line = b"one line\r\nand \xc3\xa9\xe2\x82\xac\n"
    if target == "settings":
        return [(ROOT / PARAMS).read_bytes()]
    if target in ("run", "checkpoint"):
        trained()
        files = [bytes([index]) + path.read_bytes() for index, path in enumerate(sorted(RUN.iterdir()))]
        return files if target == "run" else [KEPT.read_bytes()]
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    return {"txt": [line], "gz": [gzip.compress(line)], "zip": [zipped(method) for method in methods]}[target]


TARGETS: dict[str, Callable[[bytes], None]] = {
    "settings": settings,
    "txt": lambda data: text(".txt", data),
    "gz": lambda data: text(".gz", data),
    "zip": lambda data: text(".zip", data),
    "run": run,
    "checkpoint": kept,
}


def main() -> None:
    target = sys.argv.pop(1)
    (PLACE / "seeds").mkdir()
    for seed in seeds(target):
        (PLACE / "seeds" / hashlib.sha256(seed).hexdigest()).write_bytes(seed)
    text_files.BLOCK = 16  # so that a small input has borders of blocks

    def once(data: bytes) -> None:
        try:
            TARGETS[target](data)
        except UserError as error:
            assert str(error), "an error that says nothing"

    atheris.Setup([*sys.argv, "-max_len=8192", "-reduce_inputs=0", str(PLACE / "seeds")], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
