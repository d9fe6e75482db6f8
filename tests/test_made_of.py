"""Every reader refuses a result that was made of something else than there is now: in one line, nothing written."""

import json
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from ruamel.yaml import YAML

from miniature import ROOT, lay_out
from unrolled.settings.resolve import resolve

ARM = "lstm-clipped-1"
READERS = {
    "evaluate": ("evaluate", ARM),
    "probe": ("probe", ARM),
    "compare": ("compare",),
    "record": ("record",),
}
STAGES = (("baseline", "kneser_ney"), ("train", ARM), ("evaluate", ARM), ("probe", ARM), ("compare",))


def run(place: Path, name: str, *words: str) -> Result:
    """A stage, in this process."""
    stage = runpy.run_path(str(ROOT / "stages" / f"{name}.py"))["main"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        return CliRunner().invoke(stage, list(words))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every stage of one arm, run by hand."""
    place = tmp_path_factory.mktemp("finished")
    lay_out(place)
    edit(place, lambda params: params.update(arch={"lstm": {}}, clipping={"clipped": {"clip_norm": 0.25}}))
    for words in STAGES:
        done = run(place, *words)
        assert done.exit_code == 0, done.stderr
    return place


@pytest.fixture
def place(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "project"))


def edit(place: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Of params.yaml; resolved at once, as DVC would."""
    yaml = YAML()
    params = yaml.load(place / "params.yaml")
    change(params)
    yaml.dump(params, place / "params.yaml")
    resolve(place / "params.yaml", place / "resolved")


def set_key(section: str, key: str, value: object) -> Callable[[Path], None]:
    def change(place: Path) -> None:
        edit(place, lambda params: params[section].update({key: value}))

    return change


def another_vocabulary(place: Path) -> None:
    set_key("vocabulary", "min_count", 5)(place)
    assert run(place, "vocabulary").exit_code == 0


def again(stage: str, section: str, key: str, value: object) -> Callable[[Path], None]:
    """A stage run again with another setting, and the setting put back; what follows still stands on the first."""

    def change(place: Path) -> None:
        before = (place / "params.yaml").read_text()
        set_key(section, key, value)(place)
        assert run(place, stage, ARM).exit_code == 0
        (place / "params.yaml").write_text(before)
        resolve(place / "params.yaml", place / "resolved")

    return change


CHANGES: dict[str, tuple[Callable[[Path], None], dict[str, str]]] = {
    "another vocabulary": (
        another_vocabulary,
        dict.fromkeys(READERS, f"runs/{ARM} was made from another corpus than data/encoded now holds")
        | {"compare": "baselines/kneser_ney was made from another corpus"},
    ),
    "another training": (
        again("train", "train", "weight_decay", 0.5),
        {
            "probe": f"evaluation/{ARM} was made from another training of this arm",
            "compare": f"runs/{ARM} was made with other settings than params.yaml now states",
            "record": f"runs/{ARM} was made with other settings than params.yaml now states",
        },
    ),
    "other settings of training": (
        set_key("train", "learning_rate", 0.5),
        dict.fromkeys(("compare", "record"), f"runs/{ARM} was made with other settings"),
    ),
    "other settings of scoring": (
        set_key("evaluate", "seed", 9),
        {
            "evaluate": "baselines/kneser_ney was made with other settings",
            "probe": f"evaluation/{ARM} was made with other settings",
            "compare": f"evaluation/{ARM} was made with other settings",
            "record": f"evaluation/{ARM} was made with other settings",
        },
    ),
    "other settings of probing": (
        set_key("probe", "positions", 20),
        dict.fromkeys(("compare", "record"), f"probes/{ARM} was made with other settings"),
    ),
}


@pytest.mark.parametrize(
    ("what", "reader"), [(what, reader) for what, (_, refused) in CHANGES.items() for reader in refused]
)
def test_a_result_of_something_else_is_refused(place: Path, what: str, reader: str) -> None:
    change, refused = CHANGES[what]
    change(place)
    before = digest_of(place)
    done = run(place, *READERS[reader])
    assert done.exit_code == 1, done.output
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {refused[reader]}") and "; bring it up to date with: dvc repro " in line
    assert digest_of(place) == before


def test_what_belongs_together_is_read(place: Path) -> None:
    for words in (READERS[name] for name in READERS if name != "record"):  # which tests/tracking runs
        done = run(place, *words)
        assert done.exit_code == 0, done.stderr


def test_every_result_states_what_it_was_made_of(place: Path) -> None:
    corpus = json.loads((place / "data/corpus.json").read_text())["digest"]
    for file in (f"evaluation/{ARM}/scores.json", "baselines/kneser_ney/scores.json", f"probes/{ARM}/probe.json"):
        assert json.loads((place / file).read_text())["made_of"]["corpus"] == corpus
    assert json.loads((place / f"runs/{ARM}/settings.json").read_text())["corpus_digest"] == corpus


def digest_of(place: Path) -> dict[str, bytes]:
    folders = ("evaluation", "probes", "report", "runs", "baselines")
    return {str(path): path.read_bytes() for each in folders for path in (place / each).rglob("*") if path.is_file()}
