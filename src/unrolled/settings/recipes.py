"""Recipes: settings that the literature states, in files that params.yaml takes over; and what they measured here.

recipes/<name>.yaml    about, rungs (which arms, or baselines, make which published figure; an experiment has none),
                       params: sections of params.yaml
recipes/<name>.json    what they reached when they were trained here; written by `unrolled keep`, never by hand
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, field_validator
from ruamel.yaml import YAML

from unrolled.ground.atomic import whole_text
from unrolled.ground.checksums import json_of
from unrolled.ground.score import Score
from unrolled.settings.loader import PARAMS, Params, params_of, sections_in, text_of, yaml_in
from unrolled.settings.messages import shown
from unrolled.settings.sections import Strict
from unrolled.shell.errors import UserError

RECIPES = Path("recipes")

Measurement = dict[str, Any]
Two = Annotated[list[float], Field(min_length=2, max_length=2)]


class Published(Strict):
    """What others reached; ``ratio``: lowest and highest quotient of this and another rung's score."""

    valid: float | None = None
    test: float | None = None
    ratio: Two | None = None
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

    def reached(self, run: Measurement, scores: Sequence[Score]) -> float | None:
        """The figure that the rung shows of a run; None where the run has none."""
        figure = run["scores"].get(self.name_of_score(scores))
        return float(figure) if isinstance(figure, float | int) else None

    def own_score(self, scores: Sequence[Score]) -> Score | None:
        """Its score, where that does not compare with the task's first: a pseudo-perplexity is no perplexity."""
        return next((each for each in scores[1:] if each.column == "main" and each.name == self.score), None)


class Recipe(Strict):
    """A recipe as its file states it."""

    about: str
    rungs: list[Rung] = Field(default_factory=list)  # none: an experiment, whose outcome is its report
    params: dict[str, dict[str, Any] | list[Any]]

    def section(self, name: str) -> dict[str, Any]:
        """What it states of a section; nothing where it does not name it."""
        keys = self.params.get(name)
        return keys if isinstance(keys, dict) else {}


class Kept(Strict):
    """A `Measurement` as far as it is read; what else a task or a machine adds to it are numbers."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float | None]

    scores: dict[str, float | Two | dict[str, Any] | None]
    date: str
    machine: str
    device: str = "cpu"
    status: str = "finished"
    made_with: str = ""  # a digest of settings and corpus; notes of before it was noted have none
    seconds: float = 0.0
    valid_by_epoch: list[Two] = Field(default_factory=list)

    @field_validator("scores")
    @classmethod
    def _pairs_where_they_belong(cls, scores: dict[str, Any]) -> dict[str, Any]:
        if wrong := [name for name, each in scores.items() if name.endswith("_interval") != isinstance(each, list)]:
            raise ValueError(f"{wrong[0]} is an interval, or none, against its name")
        return scores


KEPT = TypeAdapter(dict[str, Kept])


def names(folder: Path = RECIPES) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))


def read(name: str, folder: Path = RECIPES) -> Recipe:
    """UserError where there is no such recipe, naming those there are, or where its file is not one."""
    path = folder / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f"no recipe '{name}' in {folder}/ (there are: {', '.join(names(folder)) or 'none'})")
    try:
        return Recipe.model_validate(yaml_in(text_of(path), str(path)))
    except ValidationError as error:
        raise UserError(f"{path} is not a recipe: {_first(error)}") from None


CONFIDENCE = 0.95  # of the intervals of all that was measured


def measured(name: str, folder: Path = RECIPES) -> dict[str, Measurement]:
    """What was kept of the recipe, by arm or baseline; empty where nothing was, UserError where the file is damaged."""
    path = folder / f"{name}.json"
    if not path.is_file():
        return {}
    mend = f"restore it, as with git checkout {path}, or remove it and keep the recipe again"
    try:
        kept = json_of(path)
        KEPT.validate_python(kept)
    except ValidationError as error:
        raise UserError(f"{path} does not hold what was measured: {_first(error)}; {mend}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({' '.join(str(error).split())}); {mend}") from None
    return kept


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{shown('.'.join(map(str, first['loc'])))}: {first['msg'].removeprefix('Value error, ')}"


def use(name: str, params: Path = PARAMS, folder: Path = RECIPES) -> None:
    """Write the recipe into ``params``, whose comments and whose other keys stay; whole, and valid, or not at all."""
    text, _ = applied(name, params, folder)
    whole_text(params, text)


def applied(name: str, params: Path = PARAMS, folder: Path = RECIPES) -> tuple[str, Params]:
    """What ``params`` would say with the recipe in use, and what that means; UserError where they are not valid."""
    read(name, folder)
    text = _merged(folder / f"{name}.yaml", params)
    return text, params_of(text, f"recipe '{name}' in {params}")


def _merged(recipe: Path, params: Path) -> str:
    """The text of ``params`` with the recipe's values in place of its own; rows of the grid are replaced whole."""
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 200, True
    yaml.representer.add_representer(
        type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    content = sections_in(text_of(params), str(params), yaml)
    for section, keys in yaml_in(text_of(recipe), str(recipe), yaml)["params"].items():
        own = content.get(section)
        if not (isinstance(own, dict) and isinstance(keys, dict)):  # of what should be, `params_of` tells
            content[section] = keys
            continue
        if section in ("arch", "clipping"):
            for row in [row for row in own if row not in keys]:
                del own[row]
        for key, value in keys.items():
            if key not in own or own[key] != value:
                own[key] = value
    text = io.StringIO()
    yaml.dump(content, text)
    return text.getvalue()
