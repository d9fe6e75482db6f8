"""A warm start is a start: what a program says, makes and ends with is what the real interpreter gives."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from miniature import environment, lay_out

SCRIPT = """
import json, os, sys
print(json.dumps([sys.argv, sys.path, os.getcwd(), sys.stdin.read(), os.environ["WORD"], sys.executable, __name__]))
print("aside", file=sys.stderr)
print("imported:", *sorted({name.split(".")[0] for name in sys.modules} & {"unrolled"}))
"""
ENDS = {
    "falls off its end": "print('done')",
    "says a number": "raise SystemExit(3)",
    "says a word": "raise SystemExit('no')",
    "exits in a thread's absence": "import threading; threading.Thread(target=print, args=['late']).start()",
    "leaves something to do": "import atexit; atexit.register(print, 'last')",
    "kills itself": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
}


def both(path: str, *words: str, cwd: Path, said: str = "") -> list[tuple[int, str, str]]:
    """How a command ends and what it says, as the real interpreter has it and as the warm one has it."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", path
    found = []
    for each in programs:
        variables = environment(PATH=each, WORD="heard", PYTHONPATH="src")
        done = subprocess.run(words, cwd=cwd, env=variables, input=said, capture_output=True, text=True)
        found.append((done.returncode, done.stdout, done.stderr))
    return found


def test_a_program_finds_what_it_would_find(warm: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "script.py").write_text(SCRIPT)
    real, forked = both(warm, "python", "folder/script.py", "one", "two three", cwd=tmp_path, said="line\n")
    assert forked == real
    assert real[0] == 0 and "two three" in real[1] and real[2] == "aside\n"


@pytest.mark.parametrize("end", ENDS)
def test_a_program_ends_as_it_would_end(warm: str, tmp_path: Path, end: str) -> None:
    (tmp_path / "script.py").write_text(f"print('begun', flush=True)\n{ENDS[end]}\n")
    real, forked = both(warm, "python", "script.py", cwd=tmp_path)
    assert forked == real and "begun" in real[1]


def test_an_error_keeps_its_traceback(warm: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("1 / 0\n")
    real, forked = both(warm, "python", "script.py", cwd=tmp_path)
    assert forked[:2] == real[:2] == (1, "")
    assert forked[2].splitlines()[-2:] == real[2].splitlines()[-2:]


def test_options_of_python_are_left_to_python(warm: str, tmp_path: Path) -> None:
    real, forked = both(warm, "python", "-c", "import sys; print(sys.flags.utf8_mode, sys.path[:2])", cwd=tmp_path)
    assert forked == real and real[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_program(warm: str, tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "script.py").write_text(
        "import signal, time\n"
        "for each in (signal.SIGINT, signal.SIGTERM):\n"
        "    signal.signal(each, lambda number, frame: exit(10 + number))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        ["python", "script.py"], cwd=tmp_path, env=environment(PATH=warm), stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None and program.stdout.readline() == "ready\n"
        program.send_signal(number)
    assert program.returncode == 10 + number


def test_a_training_gives_the_same_bytes(warm: str, tmp_path: Path) -> None:
    lay_out(tmp_path, epochs=2, dropout=0.2)
    stage = str(Path(__file__).parents[1] / "stages" / "train.py")
    found = []
    for program in (sys.executable, "python"):
        variables = environment(PATH=warm)
        subprocess.run(
            [program, stage, "bilstm-clipped-1"], cwd=tmp_path, env=variables, check=True, capture_output=True
        )
        files = sorted((tmp_path / "runs" / "bilstm-clipped-1").iterdir())
        found.append({file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files})
        for file in files:
            file.unlink()
        (tmp_path / "runs" / "bilstm-clipped-1").rmdir()
    assert found[0] == found[1] and "weights.safetensors" in found[0]
