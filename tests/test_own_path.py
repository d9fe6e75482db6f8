"""corpus.path: what DVC would not find, or wait for without end, is told before it is asked."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from ruamel.yaml import YAML

from unrolled.settings.own_path import check_path
from unrolled.settings.resolve import resolve
from unrolled.settings.sections import CorpusSettings
from unrolled.shell.errors import UserError

ROOT = Path(__file__).parents[1]
CORPUS = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")["corpus"]


def test_a_home_that_no_shell_has_put_in_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    with pytest.raises(UserError, match=r"corpus\.path: DVC takes ~ for the name of a folder; write /home/me/books"):
        check_path("~/books")
    check_path("~nobody-of-this-name/books")
    (tmp_path / "~").mkdir()
    check_path("~")


def test_a_pipe_is_told_before_dvc_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UserError, match=r"is a pipe, and text is read more than once; .*cat .*fifo > text\.txt"):
        check_path(str(tmp_path / "fifo"))


def test_a_name_that_dvc_cannot_list_is_told(tmp_path: Path) -> None:
    (tmp_path / "Bücher [1]").mkdir()
    check_path(str(tmp_path))
    try:
        (tmp_path / "Bücher [1]" / os.fsdecode(b"caf\xe9.txt")).touch()
    except OSError:
        pytest.skip("this file system takes names in UTF-8 alone")
    with pytest.raises(UserError, match=r"name of .*Bücher \[1\]/caf\\xe9\.txt is not UTF-8, and DVC lists no such"):
        check_path(str(tmp_path))


@pytest.mark.parametrize("pipeline", [".", "pipelines/some"])
def test_what_git_does_not_track_is_told_where_dvc_copies_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipeline: str
) -> None:
    copy = tmp_path / "mine" / ".dvc" / "tmp" / "exps" / "tmpx"
    for place in (tmp_path / "mine" / pipeline / "books [2]", copy / ".dvc", copy / pipeline):
        place.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(copy / pipeline)
    whole = (tmp_path / "mine" / pipeline / "books [2]").resolve()
    with pytest.raises(UserError) as caught:
        check_path("books [2]")
    assert str(caught.value).endswith(f"write its whole path: {whole}")
    check_path("no such")
    (copy / pipeline / "books [2]").mkdir()
    check_path("books [2]")
    monkeypatch.chdir(tmp_path / "mine" / pipeline)
    check_path("books [3]")


def test_brackets_are_of_a_name_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("books [2020]", "what?", "a*b"):
        with pytest.raises(ValidationError, match="is a file or a folder, which DVC can watch"):
            CorpusSettings(**CORPUS | {"path": name})
        (tmp_path / name).mkdir()
        assert CorpusSettings(**CORPUS | {"path": name}).path == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("utf8x", "no encoding that Python knows; did you mean 'utf-8'"),
        ("windows-1252", ""),
        ("idna", "no encoding of files"),
        ("rot13", "no encoding of files"),
        ("unicode_escape", "no encoding of files"),
        ("", "at least 1"),
    ],
)
def test_an_encoding_is_one_of_files(name: str, message: str) -> None:
    if not message:
        assert CorpusSettings(**CORPUS | {"encoding": name}).encoding == name
        return
    with pytest.raises(ValidationError, match=message):
        CorpusSettings(**CORPUS | {"encoding": name})


@given(st.text(max_size=20))
def test_any_encoding_is_one_or_is_told(name: str) -> None:
    try:
        CorpusSettings(**CORPUS | {"encoding": name})
    except ValidationError as error:
        assert len(error.errors()) == 1


@pytest.mark.parametrize("value", ["yes", 1, None, "Auto"])
def test_tokenised_is_auto_true_or_false(value: object) -> None:
    with pytest.raises(ValidationError, match="auto, true or false is due"):
        CorpusSettings(**CORPUS | {"tokenised": value})


@pytest.mark.parametrize("value", [[], "", [""], [1], ["text", None], 3, {"text": "body"}])
def test_field_is_a_name_or_several(value: object) -> None:
    """In one line: of a union of types pydantic would tell one for each, under names of its own."""
    with pytest.raises(ValidationError, match="the name of a field, or a list of names, is due") as error:
        CorpusSettings(**CORPUS | {"field": value})
    assert len(error.value.errors()) == 1


def test_only_what_reads_the_corpus_is_told_of_its_new_keys(tmp_path: Path) -> None:
    """So no arm is trained again for them; and at their defaults nothing at all changes."""
    yaml = YAML()
    settings = yaml.load(ROOT / "params.yaml")
    found = []
    for corpus in (
        {"name": "text"},
        {
            "name": "text",
            "tokenised": True,
            "encoding": "cp1252",
            "field": "f",
            "blank_lines": "keep",
            "normalise": "NFC",
        },
        {"name": "ptb", "tokenised": True, "blank_lines": "keep"},
    ):
        settings["corpus"].update(CORPUS | corpus)
        yaml.dump(settings, tmp_path / "params.yaml")
        resolve(tmp_path / "params.yaml", tmp_path / "resolved")
        files = sorted((tmp_path / "resolved").rglob("*.json"))
        found.append({path.name: path.read_text() for path in files if path.name != "params.json"})
    plain, set_, public = found
    changed = {name for name in plain if plain[name] != set_[name]}
    assert changed == {"preprocess.json", "vocabulary.json"}
    assert not any(key in plain["preprocess.json"] + public["preprocess.json"] for key in ("encoding", "blank_lines"))
