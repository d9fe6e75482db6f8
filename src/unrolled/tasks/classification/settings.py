"""The sections of params.yaml that are text classification's own, and what a training of it takes in memory."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from unrolled.settings.sections import (
    GATES,
    CellName,
    Count,
    DropoutRate,
    ForgetBias,
    Layers,
    LyapunovSettings,
    OfTheCell,
    Rate,
    ResampledSettings,
    Seed,
    Strict,
    TrainSettings,
    VocabularySettings,
    WatchedPath,
    WeightDropout,
    Width,
    in_layers,
)


class CorpusSettings(Strict):
    name: Literal["sentence_polarity", "movie_reviews", "own"]
    path: WatchedPath
    text_column: Annotated[str, Field(min_length=1)]
    label_column: Annotated[str, Field(min_length=1)]
    fold: Annotated[int, Field(ge=0, le=9)]
    seed: Seed

    @model_validator(mode="after")
    def _two_columns(self) -> Self:
        if self.text_column == self.label_column:
            raise ValueError(f"text_column and label_column are both {self.text_column!r}; a label is no text")
        return self


class CutVocabularySettings(VocabularySettings):
    max_tokens: Count | None
    keep: Literal["first", "last"]


class NetworkSettings(Strict):
    cell: CellName
    bidirectional: bool
    read_out: Literal["last", "mean", "max"]
    skip: bool
    embedding: Width
    hidden: Width
    layers: Layers
    dropout: DropoutRate
    word_dropout: DropoutRate
    weight_dropout: WeightDropout
    embedding_range: Rate
    initialisation: Annotated[Literal["uniform", "orthogonal", "identity"], OfTheCell]
    forget_bias: ForgetBias
    neutral_words: Annotated[int, Field(ge=0, le=10**5)]


class BatchedTrainSettings(TrainSettings):
    texts: Count  # in a batch


class EvaluateSettings(ResampledSettings):
    neutral_words: Annotated[list[Annotated[int, Field(ge=0, le=10**5)]], Field(min_length=1)]
    shown_texts: Annotated[int, Field(ge=0, le=1000)]


class ProbeSettings(LyapunovSettings):
    contexts: Annotated[list[Annotated[int, Field(ge=1, le=10**5)]], Field(min_length=1)]


SECTIONS: dict[str, type[Strict]] = {
    "corpus": CorpusSettings,
    "vocabulary": CutVocabularySettings,
    "network": NetworkSettings,
    "train": BatchedTrainSettings,
    "evaluate": EvaluateSettings,
    "probe": ProbeSettings,
}


def memory(network: Mapping[str, Any], train: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, int]:
    """A lower bound of the bytes that training takes, by the settings that would lower it."""
    copies = 2 if train["optimiser"] == "sgd" else 4  # the best epoch's beside them; adam has two moments
    steps = (1 + network["neutral_words"]) * (1 + network["bidirectional"]) * network["layers"]  # of texts of one word
    return {
        "network.hidden, network.embedding or network.layers": 4 * copies * parameters(network, sizes),
        "train.texts": 4 * train["texts"] * steps * GATES[network["cell"]] * network["hidden"],
    }


def parameters(network: Mapping[str, Any], sizes: Mapping[str, int]) -> int:
    """The numbers in the matrices of the network, without drawing one."""
    hidden, embedding, stacks = network["hidden"], network["embedding"], 1 + network["bidirectional"]
    of_stack = in_layers(network["cell"], hidden, embedding + hidden * (network["layers"] - 1), network["layers"])
    head = (stacks * hidden + network["skip"] * embedding) * sizes["labels"]
    return int(sizes["vocabulary"] * embedding + stacks * of_stack + head)
