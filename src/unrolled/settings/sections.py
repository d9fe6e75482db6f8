"""The sections of params.yaml that every task has, and what its own are made of."""

import codecs
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from unrolled.settings.messages import first_error, nearest
from unrolled.settings.own_path import where_dvc_was_called

# Upper bounds lie far above what anyone trains, and below what 32 bits, single precision or a memory hold.
LARGEST = 1e30
GATES = {"rnn": 1, "relu": 1, "gru": 3, "lstm": 4, "mingru": 2, "minlstm": 3}  # blocks of H rows in a cell's weights
RECURRENT = ("rnn", "relu", "gru", "lstm")  # cells with a recurrent matrix
ENCODINGS = [
    "utf-8",
    "utf-16",
    "cp1252",
    "latin-1",
    "cp1251",
    "shift_jis",
    "euc_jp",
    "gb18030",
    "big5",
    "euc_kr",
]  # common
NO_FILES = re.compile("escape|idna|punycode|undefined|utf-7|mbcs|oem|base64|bz2|hex|quopri|rot|uu|zlib")
INITIALISED = {"orthogonal": RECURRENT, "identity": ("rnn", "relu"), "chrono": ("gru", "lstm")}  # else for every cell


def _no_glob(path: str) -> str:
    """Names may hold brackets; a pattern names nothing that is there."""
    if re.search(r"[*?\[]", path) and not Path(path).exists() and where_dvc_was_called(path) is None:
        raise ValueError("is a file or a folder, which DVC can watch; plain text takes a glob as corpus.pattern")
    return path


def _of_files(encoding: str) -> str:
    """Python knows codecs beside encodings of files, as of names of hosts."""
    try:
        codec = codecs.lookup(encoding)
    except (LookupError, ValueError):
        raise ValueError(f"is no encoding that Python knows{nearest(encoding, ENCODINGS)}") from None
    if NO_FILES.search(codec.name):
        raise ValueError(f"is no encoding of files{nearest(encoding, ENCODINGS)}")
    return encoding


def _of_a_forget_gate(forget_bias: float | None, info: ValidationInfo) -> float | None:
    """A validator knows the fields above its own; what is wrong with those was said of them."""
    if forget_bias is not None and info.data.get("cell") != "lstm":
        raise ValueError(f"is for the cell lstm, not {info.data.get('cell')}")
    return forget_bias


def _of_a_recurrent_matrix(weight_dropout: float, info: ValidationInfo) -> float:
    cell = info.data.get("cell", RECURRENT[0])
    if weight_dropout and cell not in RECURRENT:
        raise ValueError(f"is of the recurrent matrix, and the cell {cell} has none")
    return weight_dropout


def _of_the_cell(initialisation: str, info: ValidationInfo) -> str:
    cell, cells = info.data.get("cell"), INITIALISED.get(initialisation)
    if cells is not None and cell not in cells:
        raise ValueError(f"is for the cells {', '.join(cells[:-1])} and {cells[-1]}, not {cell}")
    return initialisation


Seed = Annotated[int, Field(ge=0, lt=2**32)]  # torch's generator heeds 32 bits: others would be the same seed again
Count = Annotated[int, Field(ge=1, le=10**9)]
Width = Annotated[int, Field(ge=1, le=2**16)]
Share = Annotated[float, Field(gt=0, lt=1)]
Rate = Annotated[float, Field(gt=0, le=LARGEST, allow_inf_nan=False)]
DropoutRate = Annotated[float, Field(ge=0, lt=1)]
Layers = Annotated[int, Field(ge=1, le=1000)]
Many = Annotated[int, Field(ge=2, le=10**4)]
Mean = Annotated[float, Field(ge=1, le=10**6)]
Encoding = Annotated[str, Field(min_length=1, max_length=40), AfterValidator(_of_files)]
WatchedPath = Annotated[str, Field(min_length=1), AfterValidator(_no_glob)]
Bias = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
ForgetBias = Annotated[Bias | None, AfterValidator(_of_a_forget_gate)]
CellName = Literal["rnn", "relu", "gru", "lstm", "mingru", "minlstm"]
WeightDropout = Annotated[DropoutRate, AfterValidator(_of_a_recurrent_matrix)]
OfTheCell = AfterValidator(_of_the_cell)  # for the field `initialisation`


class Strict(BaseModel):
    """Frozen, a key that it does not know is an error, and no value is converted."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def in_layers(cell: str, hidden: int, read: int, layers: int) -> int:
    """The numbers in the matrices of so many recurrent layers; ``read``: their inputs' features, summed over layers."""
    return GATES[cell] * hidden * (read + (layers * hidden if cell in RECURRENT else 0))


class SplitSettings(Strict):
    """What a corpus of one text is split by."""

    valid_share: Share
    test_share: Share

    @model_validator(mode="after")
    def _leave_some_to_train(self) -> Self:
        if self.valid_share + self.test_share >= 1:
            raise ValueError("valid_share + test_share must leave something to train on (below 1)")
        return self


class DrawnSource(Strict):
    """A hidden Markov source of the user's, which stands in a file at corpus.path."""

    tokens: Annotated[int, Field(ge=100, le=10**9)]  # of all splits together


class AgreementSource(DrawnSource):
    distances: Annotated[list[Mean], Field(min_length=1, max_length=1000)]
    classes: Many
    noise: Annotated[float, Field(ge=0, lt=1)]
    fillers: Annotated[int, Field(ge=1, le=10**4)]


class TopicsSource(DrawnSource):
    topics: Many
    words: Many
    stay: Mean
    noise: Annotated[float, Field(ge=0, lt=1)]
    end: Annotated[float, Field(gt=0, lt=1)]


class BracketsSource(DrawnSource):
    kinds: Annotated[int, Field(ge=1, le=10**4)]
    depth: Annotated[int, Field(ge=1, le=100)]


SOURCES: dict[str, type[DrawnSource]] = {
    "agreement": AgreementSource,
    "topics": TopicsSource,
    "brackets": BracketsSource,
    "hidden-markov": DrawnSource,
}


class CorpusSettings(SplitSettings):
    name: Literal[
        "python-docs", "ptb", "wikitext-2", "brown", "text", "agreement", "topics", "brackets", "hidden-markov"
    ]  # fmt: skip
    path: WatchedPath
    pattern: str | None
    tokenised: bool | Literal["auto"]
    encoding: Encoding
    field: str | list[str] | None
    blank_lines: Literal["drop", "paragraphs", "keep"]
    normalise: Literal["NFC"] | None
    seed: Seed
    source: dict[str, Any] | None

    @field_validator("tokenised", mode="before")
    @classmethod
    def _auto_or_not(cls, tokenised: object) -> object:
        if tokenised is True or tokenised is False or tokenised == "auto":
            return tokenised
        raise ValueError("auto, true or false is due")

    @field_validator("field", mode="before")
    @classmethod
    def _one_or_several(cls, field: object) -> object:
        names = field if isinstance(field, list) else [field]
        if field is None or (names and all(isinstance(name, str) and name for name in names)):
            return field
        raise ValueError("the name of a field, or a list of names, is due")

    @field_validator("source")
    @classmethod
    def _of_the_name(cls, source: dict[str, Any] | None, info: ValidationInfo) -> dict[str, Any] | None:
        name = info.data.get("name", "")
        model = SOURCES.get(name)
        if model is None and source is not None:
            raise ValueError(f"is what made-up text is drawn with ({', '.join(SOURCES)}); null for {name or 'others'}")
        if model is None:
            return None
        if source is None:
            raise ValueError(f"the corpus {name} is drawn with {', '.join(model.model_fields)}")
        for key in source:
            if key not in model.model_fields:
                raise ValueError(f"unknown key '{key}'{nearest(str(key), list(model.model_fields))}")
        try:
            return model(**source).model_dump()
        except ValidationError as error:
            raise ValueError(first_error(error, "source", {})) from None


class VocabularySettings(Strict):
    unit: Literal["word", "character"]
    lowercase: bool
    min_count: Count
    max_size: Annotated[int, Field(ge=3, le=10**9)] | None


class TrainSettings(Strict):
    """How a training goes on; a task adds how its batches are made."""

    epochs: Count
    optimiser: Literal["sgd", "adam", "adamw"]
    learning_rate: Rate
    anneal_factor: Annotated[float, Field(ge=1, le=LARGEST, allow_inf_nan=False)]
    anneal_after: Annotated[int, Field(ge=0, le=10**9)] | None
    average_after: Annotated[int, Field(ge=0, le=10**9)] | None
    weight_decay: Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
    profile_every: Count
    start_from: Annotated[str, Field(min_length=1)] | None


def check_feeding(train: Mapping[str, Any]) -> None:
    """ValueError where a network that is to read words of its own never would."""
    if train["feeding"] != "teacher" and train["teacher_epochs"] >= train["epochs"]:
        raise ValueError(
            f"feeding: {train['feeding']} would never begin, as {train['teacher_epochs']} teacher_epochs come before "
            f"it and {train['epochs']} epochs are trained; lower teacher_epochs or raise epochs"
        )


class ResampledSettings(Strict):
    """How intervals are found of the scores that an evaluation gives; a task adds what is its own."""

    bootstrap_samples: Annotated[int, Field(ge=2, le=10**6)]
    bootstrap_block: Count
    confidence: Annotated[float, Field(ge=0.5, le=0.9999)]
    seed: Seed


class LyapunovSettings(Strict):
    """How far the growth of gradients is measured; a task adds its own probes."""

    lyapunov_steps: Annotated[int, Field(ge=2, le=10**6)]
    lyapunov_exponents: Count


class ClippingSettings(Strict):
    """A row of `clipping`, and nothing else, so that twins differ by nothing else."""

    clip_norm: Rate | None  # null = measured, never clipped
