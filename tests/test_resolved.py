"""Resolved settings read back: what is missing is named with what is near, and what was edited by hand is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniature import ROOT
from unrolled.ground.resolved import digest_of_params, read_arm, read_resolved, write_resolved
from unrolled.settings.resolve import resolve
from unrolled.shell.errors import UserError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    resolve(ROOT / "params.yaml", tmp_path / "resolved")
    return tmp_path / "resolved"


@given(st.dictionaries(st.text(max_size=5).filter(lambda key: key not in ("file", "sha256")), JSON, max_size=4))
def test_what_is_read_is_what_was_written(tmp_path_factory: pytest.TempPathFactory, content: dict[str, object]) -> None:
    folder = tmp_path_factory.getbasetemp()
    write_resolved("any", content, folder)
    assert read_resolved("any", folder) == content


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "arms/lstm-cliped",
            r"arms/lstm-cliped\.json is missing \(did you mean 'lstm-clipped-1'\?\); `dvc repro resolve`",
        ),
        ("arms/lstm", r"did you mean '\w*lstm-\w*clipped-1'\?"),
        ("arms/zzz", r"there are: bilstm-clipped-1, bilstm-unclipped-1, lstm-clipped-1, .*rnn-unclipped-1"),
        ("evalute", r"evalute\.json is missing \(did you mean 'evaluate'\?\)"),
    ],
)
def test_a_name_that_is_not_there_gets_the_nearest(folder: Path, name: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        read_resolved(name, folder)
    assert "\n" not in str(caught.value)


def test_an_arm_is_asked_for_by_its_name(folder: Path) -> None:
    assert read_arm("lstm-clipped-1", folder) == read_resolved("arms/lstm-clipped-1", folder)
    with pytest.raises(UserError, match="did you mean 'lstm-clipped-1'"):
        read_arm("lstm-cliped", folder)


def test_without_resolved_the_stage_that_makes_it_is_named(tmp_path: Path) -> None:
    for name in ("evaluate", "arms/lstm-clipped-1"):
        with pytest.raises(UserError) as caught:
            read_resolved(name, tmp_path / "resolved")
        path = tmp_path / "resolved" / f"{name}.json"
        assert str(caught.value) == f"{path} is missing; `dvc repro resolve` makes it from params.yaml"


def test_settings_edited_by_hand_are_refused(folder: Path) -> None:
    path = folder / "arms" / "lstm-clipped-1.json"
    text = path.read_text()
    for old, new in (('"epochs": 3', '"epochs": 4'), ('"epochs": 3', '"epochs": 3.0'), ('"sha256"', '"sha265"')):
        assert old in text
        path.write_text(text.replace(old, new))
        with pytest.raises(
            UserError, match=r"lstm-clipped-1\.json was altered .*; edit params\.yaml instead, and make"
        ):
            read_arm("lstm-clipped-1", folder)


def test_a_file_under_anothers_name_is_refused(folder: Path) -> None:
    """Whoever copies an arm's file to another's name trains the one, and would report it as the other."""
    names = sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.json"))
    assert {"grid", "params", "arms/lstm-clipped-1", "arms/rnn-clipped-1"} <= set(names)
    for other in names:
        path = folder / f"{other}.json"
        own = path.read_bytes()
        for name in names:
            path.write_bytes((folder / f"{name}.json").read_bytes() if name != other else own)
            if name == other:
                assert read_resolved(other, folder)
                continue
            with pytest.raises(UserError) as caught:
                read_resolved(other, folder)
            said = f"{path} holds the settings of {name}; edit params.yaml instead, and make it again with: dvc repro"
            assert str(caught.value).startswith(said)
        path.write_bytes(own)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"3"])
def test_what_is_no_json_is_told_with_its_mend(folder: Path, content: bytes) -> None:
    for name in ("evaluate", "arms/lstm-clipped-1"):
        (folder / f"{name}.json").write_bytes(content)
        with pytest.raises(
            UserError, match=rf"{name}\.json is damaged .*; make it again with: dvc repro -f -s resolve$"
        ):
            read_resolved(name, folder)


def test_the_digest_of_params_is_of_what_they_say(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    digests = []
    for text in (
        "a: {b: 1, c: 1e-3}",
        "# other\na:\n  c: 0.001  # told\n  b: 1\n",
        "a: {b: 2, c: 1e-3}",
        "a: {b: 1.0, c: 1e-3}",
    ):
        path.write_text(text)
        digests.append(digest_of_params(path))
    assert digests[0] == digests[1] and len(set(digests)) == 3
