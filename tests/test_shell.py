"""What only talks makes no number: no stage depends on shell/, so what the stages leave must be the same without it."""

import subprocess
from pathlib import Path

from miniature import ROOT, environment, lay_out

STAGES = {
    "resolve": [], "fetch": [], "preprocess": [], "vocabulary": [], "train": ["lstm-clipped-1"],
    "baseline": ["kneser_ney"], "evaluate": ["lstm-clipped-1"], "probe": ["lstm-clipped-1"],
}  # fmt: skip
OUTPUTS = ("resolved", "data", "runs", "baselines", "evaluation", "probes")

PIPELINE = f"""
import importlib
for name, words in {STAGES}.items():
    importlib.import_module(f"stages.{{name}}").main.main(words, standalone_mode=False)
"""

# Whatever a module of shell/ holds is there, and does nothing; but for what hands on what it is given.
STUBS = """
import sys, types
from pathlib import Path

import torch

import unrolled.shell

class UserError(Exception):
    pass

HANDED_ON = {
    "UserError": UserError,
    "stage": lambda command: command,
    "one_line_errors": lambda command: command,
    "shown": lambda records, *_, **__: records,
    "find_device": torch.device,
    "describe": str,
    "repository": lambda workspace, *_: workspace,
}

class Stub(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return HANDED_ON.get(name, lambda *_, **__: None)

(folder,) = unrolled.shell.__path__
for path in Path(folder).glob("*.py"):
    if path.stem != "__init__":
        sys.modules[f"unrolled.shell.{path.stem}"] = stub = Stub(path.stem)
        stub.__file__ = str(path)
"""
LOADED = """
import sys
print(sum(name.startswith("unrolled.shell.") and each.__spec__ is not None for name, each in sys.modules.items()))
"""


def run(place: Path, warm: str, program: str) -> str:
    """A pipeline of one arm; what the program says."""
    lay_out(place, dropout=0.2, epochs=2)
    (place / "text").mkdir()
    (place / "text" / "a.txt").write_text("".join(f"a b c {line % 7} {line % 5}\n" for line in range(200)))
    (place / "pipeline.py").write_text(program)
    done = subprocess.run(
        ["python", "pipeline.py"], cwd=place, capture_output=True, text=True,
        env=environment(PATH=warm, PYTHONPATH=f"{ROOT / 'src'}:{ROOT}"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def left(place: Path) -> dict[str, bytes]:
    paths = [path for name in OUTPUTS for path in (place / name).rglob("*") if path.is_file()]
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in paths}


def test_the_stages_leave_the_same_bytes_whatever_shell_does(tmp_path: Path, warm: str) -> None:
    places = [tmp_path / "with", tmp_path / "without"]
    for place in places:
        place.mkdir()
    assert int(run(places[0], warm, PIPELINE + LOADED)) > 5
    assert int(run(places[1], warm, STUBS + PIPELINE + LOADED)) == 0
    whole, bare = map(left, places)
    assert whole.keys() == bare.keys() and {path.split("/")[0] for path in whole} == set(OUTPUTS)
    assert [path for path in whole if whole[path] != bare[path]] == []
