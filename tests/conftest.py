"""What every test runs in: one thread, fixed seeds, and nothing of the caller's shell that could reach a pipeline."""

import os

# A test's pipeline must not find the repository, experiment or server of whoever calls pytest (a stage, a git hook),
# nor its interpreter be another than the one that is warm (warm.py).
for name in list(os.environ):
    if name.startswith(("DVC_", "MLFLOW_", "GIT_", "PYTHON")):
        del os.environ[name]
# Read when torch and mlflow are imported, so before both.
os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "MLFLOW_DISABLE_TELEMETRY": "true"}

import gc  # noqa: E402
import random  # noqa: E402
import sys  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from functools import cache  # noqa: E402
from pathlib import Path  # noqa: E402

import hypothesis  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

from unrolled.tracking.environment import DEFAULTS  # noqa: E402
from unrolled.training import checkpoint  # noqa: E402
from warm import warm_shims  # noqa: E402

# The same examples on every run, and none remembered; machines differ in speed, so no deadline.
hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("many", deadline=None, database=None, max_examples=5000)  # --hypothesis-profile
hypothesis.settings.load_profile("fixed")
torch.set_num_threads(1)


# What takes longest begins first, so that processes, which take a file each, end at about the same time; but one file
# alone of those that want the project built once, for which the others would wait.
LONGEST = (
    *("test_second_task", "test_comparison", "test_repro", "test_experiments", "test_publishing", "test_mistakes"),
    *("test_edits", "test_faults", "test_servers", "test_browser", "test_crashes", "test_tagging_corpora"),
    *("test_ui", "test_tagging", "test_made_up", "test_set_up", "test_encode", "test_speech_controls"),
    *("test_tagging_stages", "test_speech_pipeline", "test_values", "test_device", "test_packing", "test_convergence"),
    *("test_kernel_cache", "test_recipes", "test_stretches", "test_made_of", "test_any_damage", "test_any_recipe"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files in the order of LONGEST, then the others; tests within a file as they stand."""
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONGEST)))


def pytest_collection_finish() -> None:
    """What is imported stays, so the collector need not look through it again: each time half a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Random numbers start at the same place in every test, whichever ran before."""
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)


@pytest.fixture(scope="session", autouse=True)
def sources_read_once() -> Iterator[None]:
    """A checkpoint states what all sources say; parsing them takes longer than most trainings of a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "_said_in", cache(checkpoint._said_in))
        yield


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that is the same for all processes of a run of the tests."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def warm(shared: Path) -> Iterator[str]:
    """The PATH on which programs start warm: one server for all tests, as its own start takes longest.

    MLflow reads its settings while it is imported, which here is before any program could set them.
    """
    (shared / "warm").mkdir(exist_ok=True)
    with warm_shims(shared / "warm", "python", "dvc", "unrolled", **DEFAULTS) as shims:
        yield os.pathsep.join([shims, str(Path(sys.executable).parent), os.environ["PATH"]])
