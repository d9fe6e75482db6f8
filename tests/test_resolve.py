"""resolved/: a file for each kind of stage and each arm, so that an edit changes the files it concerns and no other."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from miniature import ROOT
from unrolled.ground.resolved import read_arm, read_resolved
from unrolled.settings.loader import load_params
from unrolled.settings.resolve import resolve
from unrolled.settings.sections import Strict
from unrolled.settings.stated import stated
from unrolled.shell.errors import UserError
from unrolled.tasks.language_model import settings as language_model

TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")
Raw = dict[str, Any]


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def resolved(place: Path, text: str = TEXT) -> dict[str, bytes]:
    (place / "params.yaml").write_text(text, encoding="utf-8")
    resolve(place / "params.yaml", place / "resolved")
    return files(place / "resolved")


def dumped(raw: Raw, place: Path) -> str:
    path = place / "dumped.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(raw, file)
    return path.read_text(encoding="utf-8")


def changed_by(place: Path, edit: Callable[[Raw], object]) -> set[str]:
    """Which files an edit of params.yaml changes, adds or takes away, beside the one that says what all are made of."""
    raw: Raw = YAML(typ="safe", pure=True).load(TEXT)
    before = resolved(place, dumped(raw, place))
    edited = copy.deepcopy(raw)
    edit(edited)
    after = resolved(place, dumped(edited, place))
    digests = [json.loads(each["params.json"])["digest"] for each in (before, after)]
    assert (digests[0] == digests[1]) == (raw == edited)
    return {name for name in before | after if before.get(name) != after.get(name)} - {"params.json"}


def arms(*names: str) -> set[str]:
    return {f"arms/{name}-{clipping}-1.json" for name in names for clipping in ("clipped", "unclipped")}


def test_there_is_a_file_for_each_stage_and_each_arm(tmp_path: Path) -> None:
    stages = {f"{name}.json" for name in ("fetch", "preprocess", "vocabulary", "evaluate", "probe", "grid", "params")}
    assert resolved(tmp_path).keys() == stages | arms("rnn", "lstm", "bilstm")
    folder, params = tmp_path / "resolved", load_params(tmp_path / "params.yaml")
    name = {"name": params.sections["corpus"]["name"]}
    task = {"task": params.task}
    assert read_resolved("fetch", folder) == task | {"corpus": name}
    assert read_resolved("preprocess", folder) == task | {"corpus": stated(params.sections["corpus"])}
    assert read_resolved("vocabulary", folder) == task | {"corpus": name, "vocabulary": params.sections["vocabulary"]}
    assert read_resolved("evaluate", folder) == {"task": params.task, "evaluate": params.sections["evaluate"]}
    assert read_resolved("probe", folder) == {
        "task": params.task, "evaluate": params.sections["evaluate"], "probe": params.sections["probe"],
    }  # fmt: skip
    grid = read_resolved("grid", folder)
    assert grid == {
        "task": params.task,
        "arms": [
            {"arm": f"{arch}-{clipping}-1", "arch": arch, "clipping": clipping, "seed": 1}
            for arch in ("rnn", "lstm", "bilstm")
            for clipping in ("clipped", "unclipped")
        ],
    }
    assert {arm["arm"]: read_arm(arm["arm"], folder) for arm in grid["arms"]} == {
        name: {**arm, "train": {key: value for key, value in arm["train"].items() if key != "start_from"}}
        for name, arm in params.arms.items()
    }


def test_the_same_settings_give_the_same_bytes(tmp_path: Path) -> None:
    assert resolved(tmp_path) == resolved(tmp_path)


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda raw: raw["train"].update(learning_rate=10.0), arms("lstm", "bilstm")),  # the rnn has its own
        (lambda raw: raw["arch"]["rnn"].update(learning_rate=10.0), arms("rnn")),
        (lambda raw: raw["network"].update(layers=2), arms("rnn", "lstm", "bilstm")),
        (lambda raw: raw["clipping"]["clipped"].update(clip_norm=1.0), {
            "arms/rnn-clipped-1.json", "arms/lstm-clipped-1.json", "arms/bilstm-clipped-1.json"
        }),
        (lambda raw: raw["arch"].update(deep={"layers": 2}), arms("deep") | {"grid.json"}),
        (lambda raw: raw["arch"].pop("rnn"), arms("rnn") | {"grid.json"}),
        (lambda raw: raw["corpus"].update(seed=2), {"preprocess.json"}),
        (lambda raw: raw["corpus"].update(name="brown"), {"fetch.json", "preprocess.json", "vocabulary.json"}),
        (lambda raw: raw["vocabulary"].update(min_count=2), {"vocabulary.json"}),
        (lambda raw: raw["evaluate"].update(seed=2), {"evaluate.json", "probe.json"}),
        (lambda raw: raw["probe"].update(positions=9), {"probe.json"}),
        (lambda raw: raw["arch"].update(lstm=raw["arch"].pop("lstm")), {"grid.json"}),  # now the last row
        (lambda raw: raw["arch"]["lstm"].update(layers=raw["network"]["layers"]), set()),  # says what holds anyway
    ],
)  # fmt: skip
def test_an_edit_changes_the_files_it_concerns(
    tmp_path: Path, edit: Callable[[Raw], object], expected: set[str]
) -> None:
    assert changed_by(tmp_path, edit) == expected


def test_a_comment_or_another_order_of_keys_changes_nothing(tmp_path: Path) -> None:
    raw: Raw = YAML(typ="safe", pure=True).load(TEXT)
    before = resolved(tmp_path)
    assert resolved(tmp_path, f"# a word of explanation\n{TEXT}  # and another\n") == before
    turned = {name: raw[name] for name in reversed(raw)}
    for name in ("corpus", "vocabulary", "network", "train", "evaluate", "probe"):
        turned[name] = {key: raw[name][key] for key in reversed(raw[name])}
    turned["arch"] = {name: dict(reversed(row.items())) for name, row in raw["arch"].items()}
    text = dumped(turned, tmp_path)
    assert text.index("probe:") < text.index("network:")
    assert resolved(tmp_path, text) == before


def test_a_number_written_otherwise_is_the_same_number_to_the_stages(tmp_path: Path) -> None:
    before = resolved(tmp_path)
    after = resolved(tmp_path, TEXT.replace("learning_rate: 20.0", "learning_rate: 2e1"))
    assert "2e1" in (tmp_path / "params.yaml").read_text() and after == before
    whole = resolved(tmp_path, TEXT.replace("learning_rate: 20.0", "learning_rate: 20"))
    assert {name for name in before if before[name] != whole[name]} == {"params.json"}


def test_a_new_section_re_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither that it comes, nor what is written into it, reaches a stage that does not read it."""

    class Serve(Strict):
        port: int

    before = resolved(tmp_path)
    monkeypatch.setattr(language_model, "SECTIONS", language_model.SECTIONS | {"serve": Serve})
    for port in (80, 81):
        after = resolved(tmp_path, f"{TEXT}\nserve: {{port: {port}}}\n")
        assert {name for name in before | after if before.get(name) != after.get(name)} == {"params.json"}


def test_a_mistake_leaves_what_was_resolved_before(tmp_path: Path) -> None:
    before = resolved(tmp_path)
    with pytest.raises(UserError, match=r"params\.yaml: unknown section 'trian'"):
        resolved(tmp_path, f"{TEXT}\ntrian: {{seed: 1}}\n")
    assert files(tmp_path / "resolved") == before
    assert {path.name for path in tmp_path.iterdir()} == {"params.yaml", "resolved"}


def test_an_arm_that_is_gone_leaves_no_file(tmp_path: Path) -> None:
    resolved(tmp_path)
    raw: Raw = YAML(typ="safe", pure=True).load(TEXT)
    raw["arch"] = {"gru": {"cell": "gru"}}
    assert {name for name in resolved(tmp_path, dumped(raw, tmp_path)) if name.startswith("arms/")} == arms("gru")


def test_each_file_is_plain_json(tmp_path: Path) -> None:
    """For a person, and for what reads it without this code."""
    for name, content in resolved(tmp_path).items():
        text = json.loads(content)
        assert text.keys() - {"sha256"} and len(text["sha256"]) == 64, name
        assert content.startswith(b'{\n  "') and content.endswith(b"}\n")
