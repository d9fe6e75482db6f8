"""The only reader of params.yaml: every stage validates the whole file before it does anything.

An arm is one cell of the grid ``arch`` x ``clipping``. The rows of both state only their differences:

    network, train     what all arms share
      + arch.<row>     any key of network or train
      + clipping.<row> clip_norm, and nothing else, so that twins differ by nothing else
      = one arm, named <arch>-<clipping>
"""

import re
import reprlib
import textwrap
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from ruamel.yaml import YAML

from unrolled.errors import UserError

PARAMS = Path("params.yaml")

# Upper bounds lie far above what anyone trains, and below what 32 bits, single precision or a memory hold.
LARGEST = 1e30

Seed = Annotated[int, Field(ge=0, lt=2**32)]  # torch's generator heeds 32 bits: others would be the same seed again
Count = Annotated[int, Field(ge=1, le=10**9)]
Width = Annotated[int, Field(ge=1, le=2**16)]
Share = Annotated[float, Field(gt=0, lt=1)]
Rate = Annotated[float, Field(gt=0, le=LARGEST, allow_inf_nan=False)]


class Section(BaseModel):
    """One section of params.yaml: frozen, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Corpus(Section):
    name: Literal["python-docs", "ptb", "brown", "text"]
    path: Annotated[str, Field(min_length=1)]
    pattern: str | None
    valid_share: Share
    test_share: Share
    seed: Seed

    @field_validator("path")
    @classmethod
    def _no_glob(cls, path: str) -> str:
        if re.search(r"[*?\[]", path):
            raise ValueError("is a file or a folder, which DVC can watch; put the glob into corpus.pattern")
        return path

    @model_validator(mode="after")
    def _leave_some_to_train(self) -> Self:
        if self.valid_share + self.test_share >= 1:
            raise ValueError("valid_share + test_share must leave something to train on (below 1)")
        return self


class Vocabulary(Section):
    unit: Literal["word", "character"]
    lowercase: bool
    min_count: Count
    max_size: Annotated[int, Field(ge=3, le=10**9)] | None


class Network(Section):
    cell: Literal["rnn", "relu", "gru", "lstm"]
    bidirectional: bool
    embedding: Width
    hidden: Width
    layers: Annotated[int, Field(ge=1, le=1000)]
    connection: Literal["plain", "residual", "highway", "dense"]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    dropout_mask: Literal["step", "window"]
    weight_dropout: Annotated[float, Field(ge=0, lt=1)]
    embedding_dropout: Annotated[float, Field(ge=0, lt=1)]
    tied: bool
    initialisation: Literal["uniform", "orthogonal", "identity", "chrono"]
    initial_range: Rate | None
    forget_bias: Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)] | None
    longest: Annotated[int, Field(ge=3, le=10**9)] | None

    # A validator knows the fields above its own; what is wrong with those was said of them.

    @field_validator("initialisation")
    @classmethod
    def _of_the_cell(cls, initialisation: str, info: ValidationInfo) -> str:
        cell = info.data.get("cell")
        for name, cells in {"identity": ("rnn", "relu"), "chrono": ("gru", "lstm")}.items():
            if initialisation == name and cell not in cells:
                raise ValueError(f"is for the cells {' and '.join(cells)}, not {cell}")
        return initialisation

    @field_validator("forget_bias")
    @classmethod
    def _of_a_forget_gate(cls, forget_bias: float | None, info: ValidationInfo) -> float | None:
        if forget_bias is not None and info.data.get("cell") != "lstm":
            raise ValueError(f"is for the cell lstm, not {info.data.get('cell')}")
        return forget_bias

    @field_validator("longest")
    @classmethod
    def _of_chrono(cls, longest: int | None, info: ValidationInfo) -> int | None:
        if longest is None and info.data.get("initialisation") == "chrono":
            raise ValueError("initialisation chrono needs a number, of time steps to remember at most")
        return longest

    @model_validator(mode="after")
    def _tied_sizes(self) -> Self:
        if self.tied and self.embedding != self.hidden:
            raise ValueError(f"tied weights need embedding = hidden, not {self.embedding} and {self.hidden}")
        return self


class Train(Section):
    seed: Seed
    epochs: Count
    columns: Count
    window: Annotated[int, Field(ge=2, le=10**9)]
    optimiser: Literal["sgd", "adam", "adamw"]
    learning_rate: Rate
    anneal_factor: Annotated[float, Field(ge=1, le=LARGEST, allow_inf_nan=False)]
    anneal_after: Annotated[int, Field(ge=0, le=10**9)] | None
    average_after: Count | None
    weight_decay: Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
    clip_norm: Rate | None = None  # from the clipping row; null = measured, never clipped


class Evaluate(Section):
    window: Annotated[int, Field(ge=1, le=2**16)]
    ngram_order: Annotated[int, Field(ge=1, le=100)]
    cache_windows: list[Count]
    cache_thetas: Annotated[list[Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]], Field(min_length=1)]
    cache_weights: Annotated[list[Share], Field(min_length=1)]
    dynamic_segment: Count
    dynamic_rates: list[Rate]
    dynamic_decays: Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=1)]
    bootstrap_samples: Annotated[int, Field(ge=2, le=10**6)]
    bootstrap_block: Count
    confidence: Share
    seed: Seed


class Probe(Section):
    contexts: Annotated[list[Annotated[int, Field(ge=1, le=10**4)]], Field(min_length=1)]
    positions: Annotated[int, Field(ge=1, le=10**7)]
    lyapunov_steps: Annotated[int, Field(ge=2, le=10**6)]
    lyapunov_exponents: Count


class Settings(BaseModel):
    """All settings of one arm (or, without an arm, of the stages before the arms part).

    ``Settings.load`` is the way in; the constructor is for it alone.
    """

    model_config = ConfigDict(frozen=True)

    arm: str | None
    arch: str | None
    clipping: str | None
    corpus: Corpus
    vocabulary: Vocabulary
    network: Network
    train: Train
    evaluate: Evaluate
    probe: Probe

    @classmethod
    def load(cls, path: Path = PARAMS, arm: str | None = None) -> Self:
        """Read and validate the whole file and apply ``arm``'s rows.

        Raises UserError for a file that is missing or no YAML, a key that is unknown (naming the nearest) or missing,
        a value out of range, an arm that the grid does not hold.
        """
        raw = _read(path)
        shared = cls._merge(raw, None, None, path)
        arms = {name: cls._merge(raw, *rows, path) for name, rows in _grid(raw, path).items()}
        if arm is None:
            return shared
        if arm not in arms:
            raise UserError(f"{path}: no arm '{arm}' in the grid{_nearest(arm, list(arms))}")
        return arms[arm]

    @staticmethod
    def arms(path: Path = PARAMS) -> list[str]:
        """Names of the grid's arms, in its order."""
        return list(_grid(_read(path), path))

    @classmethod
    def _merge(cls, raw: dict[str, Any], arch: str | None, clipping: str | None, path: Path) -> Self:
        rows: dict[str, dict[str, Any] | None] = {}
        if arch is not None:
            rows = {f"arch.{arch}": raw["arch"][arch], f"clipping.{clipping}": raw["clipping"][clipping]}
        merged = {name: dict(raw[name]) for name in SECTIONS}
        origin: dict[tuple[str, str], str] = {}
        for label, row in rows.items():
            for key, value in (row or {}).items():
                _check_key(label, key, CLIPPING_KEYS if label.startswith("clipping.") else ARCH_KEYS, path)
                section = "network" if key in Network.model_fields else "train"
                merged[section][key] = value
                origin[section, key] = label
        built = {}
        for name, model in SECTIONS.items():
            for key in merged[name]:
                _check_key(name, key, list(model.model_fields), path)
            try:
                built[name] = model(**merged[name])
            except ValidationError as error:
                raise UserError(f"{path}: {_first_line(error, name, origin)}") from None
        arm = None if arch is None else f"{arch}-{clipping}"
        return cls.model_validate({"arm": arm, "arch": arch, "clipping": clipping, **built})


SECTIONS: dict[str, type[Section]] = {
    "corpus": Corpus,
    "vocabulary": Vocabulary,
    "network": Network,
    "train": Train,
    "evaluate": Evaluate,
    "probe": Probe,
}
ARCH_KEYS = [*Network.model_fields, *(key for key in Train.model_fields if key != "clip_norm")]
CLIPPING_KEYS = ["clip_norm"]


def _read(path: Path) -> dict[str, Any]:
    try:
        # DVC reads YAML 1.2, where 1e-3 is a number; so does ruamel's pure loader.
        raw = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is not here: run this in the repository's root") from None
    except OSError:
        raise
    except Exception as error:  # ruamel lets through what others say of a thirteenth month or too many brackets
        raise UserError(f"{path} is not valid YAML: {textwrap.shorten(str(error), 300)}") from None
    known = [*SECTIONS, "arch", "clipping"]
    if not isinstance(raw, dict):
        raise UserError(f"{path} must hold the sections {', '.join(known)}")
    for name in raw:
        if name not in known:
            raise UserError(f"{path}: unknown section {_shown(name)}{_nearest(_shown(name), known)}")
    for name in known:
        if not isinstance(raw.get(name), dict) or not raw[name]:
            raise UserError(f"{path}: section '{name}' is missing or holds no keys")
    if "clip_norm" in raw["train"]:
        raise UserError(f"{path}: 'train.clip_norm' belongs to the rows of 'clipping'")
    return raw


def _grid(raw: dict[str, Any], path: Path) -> dict[str, tuple[str, str]]:
    for axis in ("arch", "clipping"):
        for name, row in raw[axis].items():
            if not isinstance(name, str) or not re.fullmatch(r"\w{1,100}", name, re.ASCII):
                what = "a row's name is up to 100 letters, digits and _, quoted where it would read as a number"
                raise UserError(f"{path}: {_shown(name)} under '{axis}': {what}")
            if not isinstance(row, dict | None):
                raise UserError(f"{path}: '{axis}.{name}' must hold keys, not {_shown(row)}")
    return {f"{arch}-{clipping}": (arch, clipping) for arch in raw["arch"] for clipping in raw["clipping"]}


def _check_key(section: str, key: object, known: list[str], path: Path) -> None:
    if key not in known:
        name = key if isinstance(key, str) else _shown(key)
        raise UserError(f"{path}: unknown key {_shown(f'{section}.{name}')}{_nearest(name, known)}")


def _first_line(error: ValidationError, name: str, origin: dict[tuple[str, str], str]) -> str:
    first = error.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else ""
    label = f"{origin.get((name, key), name)}.{key}" if key else name
    if first["type"] == "missing":
        return f"key '{label}' is missing"
    value = f": {_shown(first['input'])}" if key else ""
    names = re.findall("'(.*?)'", first["ctx"]["expected"]) if first["type"] == "literal_error" else []
    near = get_close_matches(_shown(first["input"]).strip("'"), names, n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    # The shared keys were good among themselves, so where one of them is named, a row brought the other half.
    rows = [] if (name, key) in origin else sorted({row for (section, _), row in origin.items() if section == name})
    beside = f" (with the row '{rows[0]}')" if rows else ""
    return f"'{label}'{value}: {first['msg'].removeprefix('Value error, ')}{hint}{beside}"


def _nearest(key: str, known: list[str]) -> str:
    close = get_close_matches(key, known, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f" (known: {', '.join(known)})"


def _shown(value: object) -> str:
    """What the file says, in one short line, though it be a line end or a list of lists of lists."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 100
    try:
        return short.repr(value)
    except ValueError:  # Python prints no more than 4,300 digits
        return "a number of thousands of digits"
