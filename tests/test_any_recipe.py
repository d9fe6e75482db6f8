"""Whatever a recipe's files say: they are used, or one line tells what is wrong with them, and nothing has changed."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from miniature import ROOT
from unrolled.report.ladder import _page, climb
from unrolled.settings.loader import load_params
from unrolled.settings.recipes import RECIPES, measured, read, use
from unrolled.shell.cli import _expected
from unrolled.shell.errors import UserError

TASK = "language_model"
RECIPE = ROOT / "recipes" / "ptb-lstm-small.yaml"
KEPT = json.loads(RECIPE.with_suffix(".json").read_text(encoding="utf-8"))
PARAMS = (ROOT / "params.yaml").read_text(encoding="utf-8")
NAMES = ["network", "train", "arch", "corpus", "task", "hidden", "seed", "scores", "valid", "test", "cell", "netwrk"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 10**12) | st.floats(0, allow_nan=False) | st.text(max_size=5)
    | st.sampled_from(NAMES),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
Edit = Callable[[Any], Any]


def places(content: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in nested mappings and lists, the whole first."""
    yield place
    if isinstance(content, dict | list):
        for key, inner in content.items() if isinstance(content, dict) else enumerate(content):
            yield from places(inner, (*place, key))


@st.composite
def edited(draw: st.DrawFn, content: Any) -> Any:
    """With one thing exchanged, taken out, renamed or added, wherever that is."""
    content = copy.deepcopy(content)
    *above, key = ("whole", *draw(st.sampled_from(list(places(content)))))
    holder: Any = (root := {"whole": content})
    for each in above:
        holder = holder[each]
    what = draw(st.sampled_from(["exchanged", "exchanged", "taken out", "renamed", "added"]))
    if what == "added" and isinstance(holder[key], dict):
        holder[key][draw(st.sampled_from(NAMES) | st.text(max_size=5))] = draw(VALUES)
    elif what == "taken out" and above:
        del holder[key]
    elif what == "renamed" and isinstance(holder, dict) and above:
        holder[draw(st.sampled_from(NAMES))] = holder.pop(key)
    else:
        holder[key] = draw(VALUES)
    return root["whole"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("recipes")
    (place / RECIPES).mkdir()
    return place


def told_or_used(place: Path) -> None:
    """Of the recipe `any`; as the commands do it, but for the figure."""
    folder, params = place / RECIPES, place / "params.yaml"
    params.write_text(PARAMS, encoding="utf-8")
    try:
        recipe, kept = read("any", folder), measured("any", folder)
        _page(climb(TASK, folder), "ladder.svg")
        for rung in recipe.rungs:
            _expected(TASK, rung, [kept[arm] for arm in rung.arms if arm in kept])
        use("any", params, folder)
        load_params(params)
    except UserError as error:
        assert "\n" not in str(error) and "any" in str(error), error
        assert params.read_text(encoding="utf-8") == PARAMS
    assert sorted(path.name for path in place.iterdir()) == ["params.yaml", "recipes"]


WHOLE = YAML(typ="safe", pure=True).load(RECIPE.read_text(encoding="utf-8"))


@given(edited(WHOLE))
@settings(max_examples=30)
@example(WHOLE | {"params": {"netwrk": {"hidden": 6}}})
@example(WHOLE | {"params": {"network": {"hiden": 6}}})
@example(WHOLE | {"params": {"network": {"hidden": "six"}}})
@example(WHOLE | {"params": {"network": [6]}})
@example(WHOLE | {"params": {"task": TASK}})
@example(WHOLE | {"params": {"arch": {"a": None}}})
def test_any_recipe_is_used_or_told(place: Path, recipe: Any) -> None:
    YAML(typ="safe", pure=True).dump(recipe, place / RECIPES / "any.yaml")
    (place / RECIPES / "any.json").write_text(json.dumps(KEPT), encoding="utf-8")
    told_or_used(place)


@given(edited(KEPT))
@settings(max_examples=30)
def test_any_note_of_what_was_measured_is_shown_or_told(place: Path, kept: Any) -> None:
    (place / RECIPES / "any.yaml").write_bytes(RECIPE.read_bytes())
    (place / RECIPES / "any.json").write_text(json.dumps(kept), encoding="utf-8")
    told_or_used(place)


@given(st.data(), st.sampled_from(["yaml", "json"]))
@settings(max_examples=30)
@example(None, "yaml")
def test_any_bytes_in_place_of_a_recipe_are_used_or_told(place: Path, data: st.DataObject | None, kind: str) -> None:
    whole = {"yaml": RECIPE.read_bytes(), "json": RECIPE.with_suffix(".json").read_bytes()}
    if data is not None:
        at, length = data.draw(st.integers(0, len(whole[kind]))), data.draw(st.integers(0, 9))
        whole[kind] = whole[kind][:at] + data.draw(st.binary(max_size=9)) + whole[kind][at + length :]
    for each, content in whole.items():
        (place / RECIPES / f"any.{each}").write_bytes(content)
    told_or_used(place)


@pytest.mark.parametrize("content", [b"", b"[" * 1000, b"\xff", b"[]", b"<<<<<<< HEAD\n{}\n=======\n", b"a: &a [*a]\n"])
@pytest.mark.parametrize("kind", ["yaml", "json"])
def test_what_is_no_recipe_is_told(place: Path, kind: str, content: bytes) -> None:
    whole = {"yaml": RECIPE.read_bytes(), "json": RECIPE.with_suffix(".json").read_bytes()} | {kind: content}
    for each, text in whole.items():
        (place / RECIPES / f"any.{each}").write_bytes(text)
    told_or_used(place)
    with pytest.raises(UserError, match=rf"any\.{kind}"):
        (read if kind == "yaml" else measured)("any", place / RECIPES)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"netwrk": {"hidden": 6}}, "recipe 'any' in {}: unknown section 'netwrk'; did you mean 'network'?"),
        ({"network": {"hiden": 6}}, "recipe 'any' in {}: unknown key 'network.hiden'; did you mean 'hidden'?"),
        ({"network": {"hidden": "six"}}, "recipe 'any' in {}: 'network.hidden': 'six': Input should be"),
    ],
)
def test_a_mistake_is_named_with_its_mend(place: Path, params: dict[str, Any], message: str) -> None:
    YAML(typ="safe", pure=True).dump(WHOLE | {"params": params}, place / RECIPES / "any.yaml")
    (place / "params.yaml").write_text(PARAMS, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        use("any", place / "params.yaml", place / RECIPES)
    assert str(caught.value).startswith(message.format(place / "params.yaml"))


@pytest.mark.parametrize("text", ["a: [", "- a\n", "", "train: 3\n"])
def test_a_broken_params_yaml_is_told(place: Path, text: str) -> None:
    (place / RECIPES / "any.yaml").write_bytes(RECIPE.read_bytes())
    (place / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"params\.yaml"):
        use("any", place / "params.yaml", place / RECIPES)
    assert (place / "params.yaml").read_text(encoding="utf-8") == text
