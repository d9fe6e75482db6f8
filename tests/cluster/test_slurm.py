"""The job script for SLURM, where there is one: Debian's slurm-wlm on the loopback will do."""

import shutil
import subprocess
import sys
from pathlib import Path

import distributed
import pytest

from over_workers import ARMS, CLIPPED, made, workers
from project import Project
from unrolled.cluster.start import slurm_script

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("default")]  # Dask's processes end when they will


def has_slurm() -> bool:
    """Whether a node of it waits for jobs."""
    if not shutil.which("sinfo"):
        return False
    nodes = subprocess.run(["sinfo", "--noheader", "--states=idle", "--format=%N"], capture_output=True, text=True)
    return bool(nodes.stdout.strip())


@pytest.mark.skipif(not has_slurm(), reason="no SLURM with an idle node")
def test_workers_that_slurm_starts(project: Project, tmp_path: Path) -> None:
    project.edit(clipping=CLIPPED)
    clone, script = tmp_path / "clone", tmp_path / "worker.sh"
    clone.mkdir()
    (clone / ".venv").symlink_to(sys.prefix)
    with workers(0, tmp_path / "workers") as address:
        script.write_text(slurm_script(address, 1, clone))
        words = ["sbatch", "--parsable", "--array=1-2", f"--output={tmp_path}/%a.out", str(script)]
        job = subprocess.run(words, check=True, capture_output=True, text=True, env=project.environ()).stdout.strip()
        try:
            with distributed.Client(address, set_as_default=False) as client:
                client.wait_for_workers(2, timeout=60)
            assert made(project.must("scripts/repro.sh", "2", CLUSTER=address)) == set(ARMS)
        finally:
            subprocess.run(["scancel", job], check=True)
