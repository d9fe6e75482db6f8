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

import unrolled.recurrence.compiled.masks  # what numba compiles, which it can no more once atheris has been there
import unrolled.recurrence.compiled.softmax
import unrolled.recurrence.compiled.time_loops  # noqa: F401

with atheris.instrument_imports(include=["unrolled", "ruamel", "zipfile", "gzip", "json"]):
    from miniature import ROOT, SIZES, arm_of, split_of, text_of
    from unrolled.corpus.files import lines
    from unrolled.corpus.files.text_files import text_documents
    from unrolled.ground.checksums import json_of, seal
    from unrolled.ground.resolved import read_arm
    from unrolled.ground.run import Run
    from unrolled.settings.loader import PARAMS
    from unrolled.settings.resolve import resolve
    from unrolled.shell.errors import UserError
    from unrolled.training import checkpoint
    from unrolled.training.checkpoint import Checkpoint
    from unrolled.training.fit import fit
    from unrolled.training.history import History
    from unrolled.training.run_directory import write_run
    from unrolled.training.training import Training

PLACE = Path(tempfile.mkdtemp())
RUN, KEPT, RESOLVED = PLACE / "runs" / "arm", PLACE / "arm.safetensors", PLACE / "resolved"
ARM = "lstm-clipped-1"


def settings(data: bytes) -> None:
    (PLACE / PARAMS).write_bytes(data)
    resolve(PLACE / PARAMS, RESOLVED)


def resolved(data: bytes) -> None:
    (RESOLVED / "arms" / f"{ARM}.json").write_bytes(data)
    read_arm(ARM, RESOLVED)


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
    arm, split = arm_of(ARM, embedding=1, hidden=1, columns=2, window=2), split_of(text_of(20))
    training = Training.of(arm, SIZES)
    history = History(training)
    for record in islice(fit(training, split, split), 8):
        history.add(record)
    write_run(RUN, training, history, arm, SIZES, "corpus")
    kept = Checkpoint(PLACE, training, history, arm, "corpus")
    kept.write()
    kept.path.rename(KEPT)


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
    if target == "resolved":
        resolve(ROOT / PARAMS, RESOLVED)
        return [(RESOLVED / "arms" / f"{ARM}.json").read_bytes()]
    if target in ("run", "checkpoint"):
        trained()
        files = [bytes([index]) + path.read_bytes() for index, path in enumerate(sorted(RUN.iterdir()))]
        return files if target == "run" else [KEPT.read_bytes()]
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    return {"txt": [line], "gz": [gzip.compress(line)], "zip": [zipped(method) for method in methods]}[target]


TARGETS: dict[str, Callable[[bytes], None]] = {
    "settings": settings,
    "resolved": resolved,
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
    lines.BLOCK = 16  # so that a small input has borders of blocks

    def once(data: bytes) -> None:
        try:
            TARGETS[target](data)
        except UserError as error:
            assert str(error), "an error that says nothing"

    atheris.Setup([*sys.argv, "-max_len=8192", "-reduce_inputs=0", str(PLACE / "seeds")], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
