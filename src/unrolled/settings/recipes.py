"""Recipes: settings that the literature states, in files that params.yaml takes over; and what they measured here.

recipes/<name>.yaml    about, rungs (which arms, or baselines, make which published figure; an experiment has none),
                       params: sections of params.yaml
recipes/<name>.json    what they reached when they were trained here; written by `unrolled keep`, never by hand
"""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from unrolled.ground.atomic import whole_text
from unrolled.ground.checksums import json_of
from unrolled.ground.score import Score
from unrolled.settings.loader import PARAMS, Params, load_params
from unrolled.settings.sections import Strict
from unrolled.shell.errors import UserError

RECIPES = Path("recipes")

Measurement = dict[str, Any]


class Published(Strict):
    """What others reached; ``ratio``: lowest and highest quotient of this and another rung's score."""

    valid: float | None = None
    test: float | None = None
    ratio: list[float] | None = None
    source: str


class Rung(Strict):
    """One line of the ladder: a score of some arms, which differ by their seed alone, or of a baseline."""

    title: str
    arms: Annotated[list[str], Field(min_length=1)]
    score: str | None = None  # or measure; the task's first score where none is named
    published: Published | None = None
    ratio_to: str | None = None

    def name_of_score(self, scores: Sequence[Score]) -> str:
        return self.score or scores[0].name

    def own_score(self, scores: Sequence[Score]) -> Score | None:
        """Its score, where that does not compare with the task's first: a pseudo-perplexity is no perplexity."""
        return next((each for each in scores[1:] if each.column == "main" and each.name == self.score), None)


class Recipe(Strict):
    """A recipe as its file states it."""

    about: str
    rungs: list[Rung] = Field(default_factory=list)  # none: an experiment, whose outcome is its report
    params: dict[str, Any]


def names(folder: Path = RECIPES) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))


def read(name: str, folder: Path = RECIPES) -> Recipe:
    """UserError where there is no such recipe, naming those there are, or where its file is not one."""
    path = folder / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f"no recipe '{name}' in {folder}/ (there are: {', '.join(names(folder)) or 'none'})")
    try:
        return Recipe.model_validate(YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8")))
    except (YAMLError, ValidationError) as error:
        raise UserError(f"{path} is not a recipe: {' '.join(str(error).split())}") from None


def measured(name: str, folder: Path = RECIPES) -> dict[str, Measurement]:
    """What was kept of the recipe, by arm or baseline; empty where nothing was."""
    path = folder / f"{name}.json"
    return json_of(path) if path.is_file() else {}


def use(name: str, params: Path = PARAMS, folder: Path = RECIPES) -> None:
    """Write the recipe into ``params``, whose comments and whose other keys stay; whole, and valid, or not at all."""
    text, _ = applied(name, params, folder)
    whole_text(params, text)


def applied(name: str, params: Path = PARAMS, folder: Path = RECIPES) -> tuple[str, Params]:
    """What ``params`` would say with the recipe in use, and what that means; UserError where they are not valid."""
    read(name, folder)
    text = _merged(folder / f"{name}.yaml", params)
    partial = params.with_name(f".{params.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        return text, load_params(partial)
    except UserError as error:
        raise UserError(str(error).replace(str(partial), f"recipe '{name}' in {params}")) from None
    finally:
        partial.unlink(missing_ok=True)


def _merged(recipe: Path, params: Path) -> str:
    """The text of ``params`` with the recipe's values in place of its own; rows of the grid are replaced whole."""
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 200, True
    yaml.representer.add_representer(
        type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    if not params.is_file():
        raise UserError(f"{params} not found: run this in the folder of a pipeline, where its params.yaml is")
    content = yaml.load(params.read_text(encoding="utf-8"))
    for section, keys in yaml.load(recipe.read_text(encoding="utf-8"))["params"].items():
        if section in ("arch", "clipping"):
            for row in [row for row in content[section] if row not in keys]:
                del content[section][row]
        for key, value in keys.items():
            if key not in content[section] or content[section][key] != value:
                content[section][key] = value
    text = io.StringIO()
    yaml.dump(content, text)
    return text.getvalue()
