"""The sections of params.yaml of sequence tagging, and what a training of it takes in memory."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from unrolled.settings.sections import (
    CellName,
    Count,
    DropoutRate,
    Layers,
    LyapunovSettings,
    ResampledSettings,
    SplitSettings,
    Strict,
    TrainSettings,
    WatchedPath,
    Width,
    in_layers,
)

TAGS = {  # by corpus.name, what a word may be tagged with
    "lines": ("upos", "xpos"),
    "sequoia": ("upos",),
    "brown": ("full", "base", "coarse"),
    "conll2000": ("pos", "chunk"),
    "conllu": ("upos", "xpos"),
    "columns": ("second",),
}
GIVEN = {"lines": ("upos", "xpos"), "sequoia": ("upos",), "conll2000": ("pos",), "conllu": ("upos", "xpos")}


class CorpusSettings(SplitSettings):
    name: Literal["lines", "sequoia", "brown", "conll2000", "conllu", "columns"]
    path: WatchedPath
    tags: Literal["upos", "xpos", "full", "base", "coarse", "pos", "chunk", "second"]
    given: Literal["upos", "xpos", "pos"] | None

    @field_validator("tags")
    @classmethod
    def _of_the_corpus(cls, tags: str, info: ValidationInfo) -> str:
        known = TAGS.get(info.data.get("name", ""), (tags,))
        if tags not in known:
            raise ValueError(f"of the corpus {info.data['name']} must be {' or '.join(known)}")
        return tags

    @field_validator("given")
    @classmethod
    def _another_column(cls, given: str | None, info: ValidationInfo) -> str | None:
        name, tags = info.data.get("name", ""), info.data.get("tags")
        known = [column for column in GIVEN.get(name, ()) if column != tags]
        if given is not None and given not in known:
            raise ValueError(f"of the corpus {name} with the tags {tags} must be {' or '.join([*known, 'null'])}")
        return given


class VocabularySettings(Strict):
    lowercase: bool
    min_count: Count


class NetworkSettings(Strict):
    cell: CellName
    bidirectional: bool
    embedding: Width
    hidden: Width
    layers: Layers
    letter_embedding: Width
    letter_hidden: Annotated[int, Field(ge=0, le=2**16)]
    given_embedding: Width
    dropout: DropoutRate
    dropout_mask: Literal["step", "window"]
    word_dropout: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]
    chain: bool


class BatchedTrainSettings(TrainSettings):
    sentences: Count


class EvaluateSettings(ResampledSettings):
    crf_iterations: Count


SECTIONS: dict[str, type[Strict]] = {
    "corpus": CorpusSettings,
    "vocabulary": VocabularySettings,
    "network": NetworkSettings,
    "train": BatchedTrainSettings,
    "evaluate": EvaluateSettings,
    "probe": LyapunovSettings,
}


def memory(network: Mapping[str, Any], train: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, int]:
    """A lower bound of the bytes that training takes, by the settings that would lower it."""
    copies = 2 if train["optimiser"] == "sgd" else 4  # the best epoch's beside them; adam has two moments
    return {"network.hidden, network.embedding or network.layers": 4 * copies * parameters(network, sizes)}


def parameters(network: Mapping[str, Any], sizes: Mapping[str, int]) -> int:
    """The numbers in the matrices of the network, without drawing one."""
    hidden, letters, stacks = network["hidden"], network["letter_hidden"], 1 + network["bidirectional"]
    given = network["given_embedding"] if sizes["given"] else 0
    inputs = network["embedding"] + 2 * letters + given
    of_stack = in_layers(network["cell"], hidden, inputs + hidden * (network["layers"] - 1), network["layers"])
    spelling = 2 * in_layers("lstm", letters, network["letter_embedding"], 1)
    spelling += sizes["letters"] * network["letter_embedding"]
    outside = sizes["words"] * network["embedding"] + sizes["given"] * given + sizes["tags"] * stacks * hidden
    return int(outside + stacks * of_stack + (spelling if letters else 0))
