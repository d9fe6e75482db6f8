"""The sections of params.yaml that every task has, and what its own are made of."""

import re
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

# Upper bounds lie far above what anyone trains, and below what 32 bits, single precision or a memory hold.
LARGEST = 1e30

Seed = Annotated[int, Field(ge=0, lt=2**32)]  # torch's generator heeds 32 bits: others would be the same seed again
Count = Annotated[int, Field(ge=1, le=10**9)]
Width = Annotated[int, Field(ge=1, le=2**16)]
Share = Annotated[float, Field(gt=0, lt=1)]
Rate = Annotated[float, Field(gt=0, le=LARGEST, allow_inf_nan=False)]
DropoutRate = Annotated[float, Field(ge=0, lt=1)]


class Strict(BaseModel):
    """Frozen, a key that it does not know is an error, and no value is converted."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class CorpusSettings(Strict):
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


class ClippingSettings(Strict):
    """A row of `clipping`, and nothing else, so that twins differ by nothing else."""

    clip_norm: Rate | None  # null = measured, never clipped
