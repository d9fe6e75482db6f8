"""The only reader of params.yaml: the whole file is validated before anything is done.

An arm is one cell of the grid ``arch`` x ``clipping`` x ``seeds``. Rows of the first two state only their differences:

    network, train     what all arms share
      + arch.<row>     any key of network or train
      + clipping.<row> clip_norm, and nothing else, so that twins differ by nothing else
      + a seed         from which its weights, its masks and the order of its batches are drawn
      = one arm, named <arch>-<clipping>-<seed>
"""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from ruamel.yaml import YAML

from unrolled.ground.registry import task_names, task_part
from unrolled.settings.messages import first_error, nearest, shown
from unrolled.settings.sections import ClippingSettings, CorpusSettings, Seed, Strict, VocabularySettings
from unrolled.shell.errors import UserError

PARAMS = Path("params.yaml")


def _all_different(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("the same seed twice would be the same training twice")
    return seeds


SEEDS = TypeAdapter(
    Annotated[list[Seed], Field(min_length=1, max_length=1000), AfterValidator(_all_different)],
    config=ConfigDict(strict=True),
)
SHARED = ("corpus", "vocabulary")  # sections that every task has
OF_OBJECTS = (
    "constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString", "valueOf",
)  # fmt: skip

Section = dict[str, Any]  # as params.yaml has it: plain numbers, texts and lists by key


@dataclass(frozen=True)
class Params:
    """params.yaml, validated.

    ``sections`` hold what is shared by all arms; ``arms``, in the grid's order, are resolved: each has its ``task``,
    ``arm``, ``arch`` and ``clipping``, by name, and its sections ``network`` and ``train``, the seed in the latter.
    """

    task: str
    sections: dict[str, Section]
    arms: dict[str, dict[str, Any]]


def load_params(path: Path = PARAMS) -> Params:
    """Read and validate the whole file; UserError where it is missing, and as ``params_of``."""
    return params_of(text_of(path), str(path))


def params_of(text: str, place: str) -> Params:
    """What the text of a params.yaml means; ``place``: what messages call it.

    Raises UserError for what is no YAML, a key that is unknown (naming the nearest) or missing, a value out of range.
    """
    raw = sections_in(text, place)
    task = _task(raw, place)
    models = sections_of(task)
    _check_sections(raw, models, place)
    sections = _merged(raw, {}, models, place)
    arms = {}
    seeds = _seeds(raw, place)
    for arch, clipping in _grid(raw, place):
        rows = {f"arch.{arch}": raw["arch"][arch], f"clipping.{clipping}": raw["clipping"][clipping]}
        own = _merged(raw, rows, models, place)
        _check_arm(task, f"{place}: arm '{arch}-{clipping}'", own)
        for seed in seeds:
            arm = {"task": task, "arm": f"{arch}-{clipping}-{seed}", "arch": arch, "clipping": clipping}
            arms[arm["arm"]] = arm | {"network": dict(own["network"]), "train": {"seed": seed} | own["train"]}
    return Params(task, sections, arms)


def sections_of(task: str) -> dict[str, type[Strict]]:
    """The sections of a task's params.yaml in their order, without the grid."""
    own: dict[str, type[Strict]] = task_part(task, "settings").SECTIONS
    return {"corpus": CorpusSettings, "vocabulary": VocabularySettings, **own}


def arch_keys(task: str) -> list[str]:
    """What a row of `arch` may state."""
    models = sections_of(task)
    return [*models["network"].model_fields, *models["train"].model_fields]


def text_of(path: Path) -> str:
    """The text of a params.yaml; UserError where there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path} not found: run this in the folder of a pipeline, where its params.yaml is") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}); save it as that") from None


def yaml_in(text: str, place: str, yaml: YAML | None = None) -> Any:
    """What a text says, read by ``yaml``, or as DVC reads it: YAML 1.2, where 1e-3 is a number."""
    try:
        return (yaml or YAML(typ="safe", pure=True)).load(text)
    except Exception as error:  # ruamel lets through what others say of a thirteenth month or too many brackets
        raise UserError(f"{place} is not valid YAML: {textwrap.shorten(str(error), 300)}") from None


def sections_in(text: str, place: str, yaml: YAML | None = None) -> dict[str, Any]:
    """What the text of a params.yaml says, as ``yaml_in``."""
    raw = yaml_in(text, place, yaml)
    if not isinstance(raw, dict):
        raise UserError(f"{place} must hold sections such as corpus, network and train")
    return raw


def _task(raw: dict[str, Any], place: str) -> str:
    known = task_names()
    if "task" not in raw:
        raise UserError(f"{place}: key 'task' is missing (known: {', '.join(known)})")
    if raw["task"] not in known:
        name = shown(raw["task"])
        raise UserError(f"{place}: unknown task {name}{nearest(name, known)}")
    return str(raw["task"])


def _check_sections(raw: dict[str, Any], models: dict[str, type[Strict]], place: str) -> None:
    sections = [*models, "arch", "clipping"]
    known = [*sections, "seeds"]
    for name in raw:
        if name not in ("task", *known):
            raise UserError(f"{place}: unknown section {shown(name)}{nearest(shown(name), known)}")
    for name in sections:
        if not isinstance(raw.get(name), dict) or not raw[name]:
            raise UserError(f"{place}: section '{name}' is missing or holds no keys")
    if "clip_norm" in raw["train"]:
        raise UserError(f"{place}: 'train.clip_norm' belongs to the rows of 'clipping'")
    if "seed" in raw["train"]:
        raise UserError(f"{place}: 'train.seed' belongs to the list 'seeds', as in seeds: [1]")


def _seeds(raw: dict[str, Any], place: str) -> list[int]:
    if "seeds" not in raw:
        raise UserError(f"{place}: key 'seeds' is missing: the list of seeds that each arm is trained with, as in [1]")
    try:
        return SEEDS.validate_python(raw["seeds"])
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ").lower()
        due = "a list of seeds is due, as in [1, 2, 3]"
        raise UserError(f"{place}: 'seeds': {shown(raw['seeds'])}: {said}; {due}") from None


def _grid(raw: dict[str, Any], place: str) -> list[tuple[str, str]]:
    for axis in ("arch", "clipping"):
        for name, row in raw[axis].items():
            if not isinstance(name, str) or not re.fullmatch(r"\w{1,100}", name, re.ASCII):
                what = "a row's name is up to 100 letters, digits and _, quoted where it would read as a number"
                raise UserError(f"{place}: {shown(name)} under '{axis}': {what}")
            if name in OF_OBJECTS or name.startswith("__"):
                what = "every object of JavaScript has something of that name, which figures would show instead"
                raise UserError(f"{place}: {shown(name)} under '{axis}': {what}; choose another")
            if not isinstance(row, dict | None):
                raise UserError(f"{place}: '{axis}.{name}' must hold keys, not {shown(row)}")
    return [(arch, clipping) for arch in raw["arch"] for clipping in raw["clipping"]]


def _merged(
    raw: dict[str, Any], rows: dict[str, dict[str, Any] | None], models: dict[str, type[Strict]], place: str
) -> dict[str, Section]:
    """All sections with the values of the rows in place of the shared ones, validated."""
    merged = {name: dict(raw[name]) for name in models}
    origin: dict[tuple[str, str], str] = {}
    if rows:  # what a row of `clipping` states is a part of `train`, but must be stated
        models, merged["clipping"] = models | {"clipping": ClippingSettings}, {}
        origin["clipping", "clip_norm"] = next(label for label in rows if label.startswith("clipping."))
    for label, row in rows.items():
        sections = ["clipping"] if label.startswith("clipping.") else ["network", "train"]
        keys = {key: section for section in sections for key in models[section].model_fields}
        for key, value in (row or {}).items():
            _check_key(label, key, list(keys), place)
            merged[keys[key]][key] = value
            origin[keys[key], key] = label
    built = {}
    for name, model in models.items():
        for key in merged[name]:
            _check_key(name, key, list(model.model_fields), place)
        built[name] = _validated(name, model, merged[name], origin, place)
    built["train"] |= built.pop("clipping", {})
    return built


def _validated(
    name: str, model: type[Strict], values: dict[str, Any], origin: dict[tuple[str, str], str], place: str
) -> Section:
    try:
        return model(**values).model_dump()
    except ValidationError as error:
        raise UserError(f"{place}: {first_error(error, name, origin)}") from None


def _check_arm(task: str, arm: str, own: dict[str, Section]) -> None:
    """What a task asks of the sections of an arm together, where it asks for something: see `ground/task.py`."""
    check = getattr(task_part(task, "settings"), "check_arm", None)
    if check is not None:
        try:
            check(own["network"], own["train"])
        except ValueError as error:
            raise UserError(f"{arm}: {error}") from None


def _check_key(section: str, key: object, known: list[str], place: str) -> None:
    if key not in known:
        name = key if isinstance(key, str) else shown(key)
        raise UserError(f"{place}: unknown key {shown(f'{section}.{name}')}{nearest(name, known)}")
