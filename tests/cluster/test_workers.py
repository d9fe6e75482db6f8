"""Arms over a cluster whose workers are processes, each with its clone and its cache: `make check-cluster`."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import distributed
import pytest

from over_workers import ARMS, CLIPPED, made, outputs, whole_lock, workers
from project import GRID, Project, copied, running
from unrolled.cluster.start import slurm_script

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("default")]  # Dask's processes end when they will


def test_the_same_bytes_as_on_one_machine_and_nothing_is_sent_twice(
    project: Project, fresh: Project, tmp_path: Path
) -> None:
    alone = copied(fresh, tmp_path / "alone")
    for each in (project, alone):
        each.append("src/unrolled/training/fit.py", "\n# not committed\n")
        each.edit(clipping=CLIPPED)
    alone.must("scripts/repro.sh", "2", PYTHONPATH=str(alone.place / "src"))
    with workers(2, tmp_path / "workers") as address:
        said = project.must("scripts/repro.sh", "2", CLUSTER=address)
        assert whole_lock(project) == whole_lock(alone) and outputs(project) == outputs(alone)
        assert made(said) == set(ARMS)
        assert len(set(re.findall(r"^\S+: made by (\S+),", said, re.M))) == 2
        assert all(re.search(rf"^{arm} \| \S+:\d+ \| {arm}: epoch 1: valid .* tokens/s$", said, re.M) for arm in ARMS)
        here = {stage for stage in running(said) if not stage.startswith("baseline")}
        assert here == {"resolve", "fetch", "preprocess", "vocabulary", "compare", "record"}
        assert len(list((tmp_path / "workers").glob("**/unrolled/clone/.dvc/cache"))) == 2
        assert all(json.loads((project.place / f"timings/{arm}.json").read_text())["device"] == "cpu" for arm in ARMS)
        project.edit(arch=GRID | {"lstm": {"cell": "lstm", "learning_rate": 1.0}})
        assert made(project.must("scripts/repro.sh", "2", CLUSTER=address)) == {"lstm-clipped-1"}
        project.edit(arch=GRID)
        said = project.must("scripts/repro.sh", "2", CLUSTER=address)
        assert "2 of 2 arms are up to date or in the run cache" in said and made(said) == set()


def test_an_arm_whose_worker_is_killed_goes_on_elsewhere(project: Project, tmp_path: Path) -> None:
    project.edit(train__epochs=40, arch={"lstm": {"cell": "lstm"}}, clipping=CLIPPED)
    (tmp_path / "checkpoints").mkdir()
    with workers(2, tmp_path / "workers") as address:
        head = subprocess.Popen(
            ["scripts/repro.sh", "2"],
            cwd=project.place,
            env=project.environ(CLUSTER=address, UNROLLED_CHECKPOINTS=str(tmp_path / "checkpoints")),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert head.stdout is not None
        said = []
        for line in head.stdout:
            said.append(line)
            if found := re.match(r"\S+ \| (\S+) \| \S+: epoch 3:", line):
                break
        port = found[1].rpartition(":")[2] if found else "".join(said)
        with distributed.Client(address, set_as_default=False) as client:
            pids = client.run(os.getpid)
        (killed,) = (pid for worker, pid in pids.items() if worker.endswith(f":{port}"))
        stage = training(tmp_path)
        assert stage
        os.kill(killed, signal.SIGKILL)
        rest, _ = head.communicate(timeout=300)
        assert head.returncode == 0, "".join(said) + rest
        assert re.search(r"training goes on after step [\d,]+, from .*/checkpoints/lstm-clipped-1-", rest), rest
        made = re.search(r"lstm-clipped-1: made by (\S+), and pushed", rest)
        assert made and made[1] != found[1]
        assert not [pid for pid in stage if alive(pid)]  # what the dead worker had started
    assert not list((tmp_path / "checkpoints").iterdir())


def training(place: Path) -> list[int]:
    """The processes that train now in a folder of ``place``; other work on this machine is none of ours."""
    lines = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout.splitlines()
    found = [int(line.split()[0]) for line in lines if re.search(r" python stages/train.py lstm-clipped-1$", line)]
    return [pid for pid in found if Path(f"/proc/{pid}/cwd").resolve().is_relative_to(place)]


def alive(pid: int) -> bool:
    try:
        return "train.py" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def test_a_worker_with_another_torch_is_refused_or_noted(project: Project, tmp_path: Path) -> None:
    project.edit(arch={"rnn": {"cell": "rnn"}}, clipping=CLIPPED)
    other = tmp_path / "packages" / "torch-9.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 9.9\n")
    with workers(0, tmp_path / "workers") as address:
        said = project.run("unrolled", "distribute", "--check", address)
        assert said.returncode == 1 and "error: the cluster has no workers" in said.stderr
        script = tmp_path / "job.sh"
        script.write_text(slurm_script(address, 1, tmp_path / "clone"))
        (tmp_path / "clone").mkdir()
        (tmp_path / "clone" / ".venv").symlink_to(sys.prefix)
        environ = project.environ(PYTHONPATH=str(other.parent), TMPDIR=str(tmp_path))
        job = subprocess.Popen(["bash", script], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with distributed.Client(address, set_as_default=False) as client:
                client.wait_for_workers(1, timeout=60)
            said = project.run("scripts/repro.sh", "2", CLUSTER=address)
            assert said.returncode == 1 and not (project.place / "resolved").exists()
            (line,) = (line for line in said.stderr.splitlines() if line.startswith("error: "))
            assert re.search(r"no worker of the cluster is admitted \(tcp://\S+: torch 9.9, here \d", line)
            project.must("scripts/repro.sh", "2", CLUSTER=address, UNROLLED_ANY_WORKER="1")
        finally:
            job.terminate()
            job.wait()
    device = json.loads((project.place / "timings/rnn-clipped-1.json").read_text())["device"]
    assert re.match(r"cpu of \S+:\d+, another machine: torch 9\.9, here \d", device)


def test_an_arm_that_fails_is_named_and_the_others_stand(project: Project, tmp_path: Path) -> None:
    """A failing stage is tried on other workers, then said; what was made is fetched."""
    project.edit(clipping=CLIPPED)
    broken = '\n\nimport sys\nif sys.argv[1:] == ["lstm-clipped-1"]:\n    sys.exit("error: no room")\n'
    stage = project.place / "stages" / "evaluate.py"
    stage.write_text(
        stage.read_text().replace('\n\nif __name__ == "__main__"', f'{broken}\n\nif __name__ == "__main__"')
    )
    with workers(2, tmp_path / "workers") as address:
        said = project.run("scripts/repro.sh", "2", CLUSTER=address)
    assert said.returncode == 1 and "Traceback" not in said.stderr
    (line,) = (line for line in said.stderr.splitlines() if line.startswith("error: "))
    assert re.match(
        r"error: 1 of 2 arms failed, the others are fetched: lstm-clipped-1: dvc repro failed on \S+: ", line
    )
    assert "error: no room" in line
    assert (project.place / "probes" / "rnn-clipped-1").is_dir()
    assert running(project.must("dvc", "repro", "-s", *(f"train@{arm}" for arm in ARMS))) == set()  # they were pushed


def test_without_a_remote_nothing_begins(fresh: Project, tmp_path: Path) -> None:
    project = copied(fresh, tmp_path / "project")
    done = project.run("scripts/repro.sh", "2", CLUSTER="tcp://127.0.0.1:9", PYTHONPATH=str(project.place / "src"))
    assert done.returncode == 1 and "dvc remote add -d ours" in done.stderr
    assert not (project.place / "resolved").exists()
