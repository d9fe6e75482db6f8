"""Every reader refuses a result that was made of something else than there is now: in one line, nothing written."""

import json
import re
import runpy
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from ruamel.yaml import YAML

from miniature import ROOT, lay_out
from unrolled.ground.checksums import seal
from unrolled.ground.resolved import seeded
from unrolled.ground.trained import read_trained
from unrolled.report.chart import Chart
from unrolled.settings.resolve import resolve
from unrolled.shell.errors import UserError

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


def sketch(_: Chart, path: Path, suffixes: Collection[str]) -> None:
    for suffix in suffixes:
        path.with_suffix(suffix).write_text("{}")


@pytest.fixture(scope="module", autouse=True)
def sketched() -> Iterator[None]:
    """Figures are made and not drawn, which takes longer than all stages together; test_comparison.py looks at them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Chart, "write", sketch)
        yield


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


def resealed(directory: Path, name: str, **changed: Any) -> None:
    content = json.loads((directory / name).read_text()) | changed
    (directory / name).unlink()
    seal(directory / name, {key: value for key, value in content.items() if key not in ("files", "seal")})


def trained_otherwise(place: Path) -> None:
    """As on another machine: settings alike, and other bytes."""
    resealed(place / "runs" / ARM, "summary.json", parameters=1)


def others_run(place: Path) -> None:
    """The run of an arm of another name, in the place of this one's."""
    run = place / "runs" / ARM
    settings = json.loads((run / "settings.json").read_text())
    (run / "settings.json").write_text(json.dumps(settings | {"arm": "rnn-clipped-1", "arch": "rnn"}))
    resealed(run, "summary.json")


def probed_again(place: Path) -> None:
    set_key("probe", "positions", 20)(place)
    assert run(place, "probe", ARM).exit_code == 0


def restate(report: Path) -> None:
    content = json.loads(report.read_text())
    content["settings"]["vocabulary"]["min_count"] = 50
    report.write_text(json.dumps(content))


CHANGES: dict[str, tuple[Callable[[Path], None], dict[str, str]]] = {
    "another vocabulary": (
        another_vocabulary,
        dict.fromkeys(READERS, f"runs/{ARM} was made from another corpus than data/encoded now holds")
        | {"compare": "baselines/kneser_ney was made from another corpus"},
    ),
    "another training": (
        again("train", "train", "weight_decay", 0.5),
        {
            name: f"runs/{ARM} was made with other settings than params.yaml now states"
            for name in ("evaluate", "probe", "compare", "record")
        },
    ),
    "another training of the same settings": (
        trained_otherwise,
        {
            "probe": f"evaluation/{ARM} was made from another training of this arm",
            "compare": f"evaluation/{ARM} was made from another training of this arm",
            "record": f"evaluation/{ARM} was made from another training of this arm",
        },
    ),
    "another arm's run": (
        others_run,
        dict.fromkeys(READERS, f"runs/{ARM} was made with other settings than params.yaml now states"),
    ),
    "other settings of training": (
        set_key("train", "learning_rate", 0.5),
        dict.fromkeys(("evaluate", "probe", "compare", "record"), f"runs/{ARM} was made with other settings"),
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
    "probes that were not compared": (
        probed_again,
        {"record": "report was made from other arms, or other probes of these, than there are now"},
    ),
    "a corpus report of other settings": (
        lambda place: restate(place / "data/corpus.json"),
        dict.fromkeys(("compare", "record"), "data/corpus.json is not of the corpus in data/encoded"),
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
    assert line.startswith(f"error: {refused[reader]}") and re.search(
        r"; (bring it up to date with|make both with): dvc repro ", line
    )
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


def test_a_resolved_file_of_another_params_yaml_is_refused(place: Path) -> None:
    """Each vouches for itself and its name; that they belong together, the one with the digests of all."""
    other = place / "resolved" / "arms" / f"{ARM}.json"
    before = other.read_bytes()
    set_key("train", "learning_rate", 0.5)(place)
    kept = other.read_bytes()
    other.write_bytes(before)
    for words in (("train", ARM), *READERS.values()):
        done = run(place, *words)
        assert done.exit_code == 1
        assert done.stderr.startswith(
            f"error: resolved/arms/{ARM}.json was made from another params.yaml than the files"
        )
    other.write_bytes(kept)
    assert run(place, "train", ARM).exit_code == 0


def test_a_person_is_told_that_a_folder_holds_another_arm(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others_run(place)
    monkeypatch.chdir(place)
    with pytest.raises(
        UserError, match=f"runs/{ARM} holds rnn-clipped-1; make it again with: dvc repro -f -s train@{ARM}"
    ):
        read_trained(ARM, "language_model", lambda run: 0.0)


def test_an_arm_of_several_seeds_is_named_with_one() -> None:
    there = ["lstm-clipped-1", "lstm-clipped-10", "lstm-clipped-2", "rnn-clipped-3"]
    assert seeded("rnn-clipped", there) == "rnn-clipped-3" and seeded("gru-clipped", there) == "gru-clipped"
    assert seeded("lstm-clipped-1", there) == "lstm-clipped-1"
    with pytest.raises(UserError, match=r"^lstm-clipped has the seeds 1, 2, 10: name one, as lstm-clipped-1$"):
        seeded("lstm-clipped", there)
