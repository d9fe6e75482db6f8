"""The language model's sections of params.yaml, and what a training of it takes in memory."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from unrolled.ground.layers import PLACES, sizes_of
from unrolled.settings.sections import (
    GATES,
    LARGEST,
    CellName,
    Count,
    DropoutRate,
    ForgetBias,
    Layers,
    LyapunovSettings,
    OfTheCell,
    Rate,
    ResampledSettings,
    Share,
    Strict,
    TrainSettings,
    VocabularySettings,
    WeightDropout,
    Width,
    check_feeding,
    in_layers,
)


def _every_place(values: object) -> object:
    """Before the values are looked at: what is wrong with one is said by its place."""
    if not isinstance(values, dict) or set(values) != set(PLACES):
        raise ValueError(f"by place it has the keys {', '.join(PLACES)}, each of them and no others")
    return values


DropoutMask = Literal["step", "window"]
# Told apart before either is checked, so that a message is of the one that was meant.
OneOrMany = Discriminator(lambda given: "many" if isinstance(given, dict | list) else "one")


class NetworkSettings(Strict):
    cell: CellName
    bidirectional: bool
    embedding: Width
    hidden: Annotated[Annotated[Width, Tag("one")] | Annotated[list[Width], Tag("many")], OneOrMany]
    layers: Layers
    connection: Literal["plain", "residual", "highway", "dense"]
    dropout: Annotated[
        Annotated[DropoutRate, Tag("one")]
        | Annotated[dict[str, DropoutRate], BeforeValidator(_every_place), Tag("many")],
        OneOrMany,
    ]
    dropout_mask: Annotated[
        Annotated[DropoutMask, Tag("one")]
        | Annotated[dict[str, DropoutMask], BeforeValidator(_every_place), Tag("many")],
        OneOrMany,
    ]
    weight_dropout: WeightDropout
    embedding_dropout: DropoutRate
    tied: bool
    softmax: Literal["full", "adaptive"]
    cutoffs: Annotated[list[Count], Field(min_length=1)]
    initialisation: Annotated[Literal["uniform", "orthogonal", "identity", "chrono"], OfTheCell]
    initial_range: Rate | None
    forget_bias: ForgetBias
    longest: Annotated[int, Field(ge=3, le=10**9)] | None

    # A validator knows the fields above its own; what is wrong with those was said of them.

    @field_validator("longest")
    @classmethod
    def _of_chrono(cls, longest: int | None, info: ValidationInfo) -> int | None:
        if longest is None and info.data.get("initialisation") == "chrono":
            raise ValueError("initialisation chrono needs a number, of time steps to remember at most")
        return longest

    @field_validator("cutoffs")
    @classmethod
    def _ascending(cls, cutoffs: list[int]) -> list[int]:
        if cutoffs != sorted(set(cutoffs)):
            raise ValueError(f"must ascend, each a number of its own, not {cutoffs}")
        return cutoffs

    @model_validator(mode="after")
    def _a_size_a_layer(self) -> Self:
        sizes = sizes_of(self.hidden, self.layers)
        if self.connection != "plain" and len(set(sizes)) > 1:
            raise ValueError(f"connection: {self.connection} needs layers of one size, not {self.hidden}")
        return self

    @model_validator(mode="after")
    def _tied_sizes(self) -> Self:
        if self.tied and self.softmax == "adaptive":
            raise ValueError("softmax: adaptive has no row of the embedding's width for each type; set tied: false")
        *_, last = sizes_of(self.hidden, self.layers)
        if self.tied and self.embedding != last:
            raise ValueError(f"tied weights need embedding = hidden of the last layer, not {self.embedding} and {last}")
        return self


class UnitVocabularySettings(VocabularySettings):
    unit: Literal["word", "character", "subword"]  # type: ignore[assignment]
    subwords: Literal["bpe", "unigram"]
    size: Annotated[int, Field(ge=258, le=10**7)]


Coefficient = Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]


class BatchedTrainSettings(TrainSettings):
    columns: Count
    window: Annotated[int, Field(ge=2, le=10**9)]
    window_varies: bool
    average_again: Count | None
    activation_regularisation: Coefficient
    temporal_activation_regularisation: Coefficient
    reset: Literal["never", "sentence"] | Share
    feeding: Literal["teacher", "own", "scheduled", "reinforce"]
    prompt: Count
    schedule: Literal["linear", "exponential", "inverse_sigmoid"]
    schedule_steps: Count
    horizon: Count | None
    teacher_epochs: Annotated[int, Field(ge=0, le=10**9)]
    entropy_weight: Coefficient
    reward_order: Annotated[int, Field(ge=1, le=100)]

    @field_validator("reset", mode="before")
    @classmethod
    def _word_or_share(cls, reset: object) -> object:
        if reset in ("never", "sentence") or (isinstance(reset, float) and 0 < reset < 1):
            return reset
        raise ValueError("never, sentence, or a probability above 0 and below 1 is due")

    @field_validator("average_again")
    @classmethod
    def _after_the_first_time(cls, average_again: int | None, info: ValidationInfo) -> int | None:
        if average_again is not None and info.data.get("average_after", 0) is None:
            raise ValueError("averaging must begin before it begins again: set average_after to a number of epochs too")
        return average_again

    @field_validator("reset")
    @classmethod
    def _of_windows(cls, reset: str | float, info: ValidationInfo) -> str | float:
        if reset == "sentence" and info.data.get("window_varies"):
            raise ValueError("reads whole sentences, and no window whose length could vary; set window_varies: false")
        for key in ("activation_regularisation", "temporal_activation_regularisation"):
            if reset == "sentence" and info.data.get(key):
                raise ValueError(f"reads whole sentences, and {key} is of windows that are full; set that to 0.0")
        return reset

    @field_validator("feeding")
    @classmethod
    def _of_whole_sentences(cls, feeding: str, info: ValidationInfo) -> str:
        if feeding != "teacher" and info.data.get("reset", "sentence") != "sentence":
            raise ValueError("the network finishes sentences, so it must read each for itself: set reset: sentence")
        return feeding


class EvaluateSettings(ResampledSettings):
    window: Annotated[int, Field(ge=1, le=2**16)]
    ngram_order: Annotated[int, Field(ge=1, le=100)]
    temperatures: list[Annotated[float, Field(ge=0.01, le=100)]]
    cache_windows: list[Count]
    cache_thetas: Annotated[list[Coefficient], Field(min_length=1)]
    cache_weights: Annotated[list[Share], Field(min_length=1)]
    dynamic_segment: Count
    dynamic_rates: list[Rate]
    dynamic_decays: Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=1)]
    own_sentences: Annotated[int, Field(ge=0, le=10**5)]


class ProbeSettings(LyapunovSettings):
    contexts: Annotated[list[Annotated[int, Field(ge=1, le=10**4)]], Field(min_length=1)]
    positions: Annotated[int, Field(ge=1, le=10**7)]


SECTIONS: dict[str, type[Strict]] = {
    "vocabulary": UnitVocabularySettings,
    "network": NetworkSettings,
    "train": BatchedTrainSettings,
    "evaluate": EvaluateSettings,
    "probe": ProbeSettings,
}


def check_arm(network: Mapping[str, Any], train: Mapping[str, Any]) -> None:
    """ValueError where the two sections do not go together."""
    if train["feeding"] != "teacher" and network["bidirectional"]:
        raise ValueError(
            f"feeding: {train['feeding']} is not for a bidirectional network, which reads what it is to predict next "
            "and so cannot finish a sentence; set feeding: teacher in its row, or bidirectional: false"
        )
    check_feeding(train)


def memory(network: Mapping[str, Any], train: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, int]:
    """A lower bound of the bytes that training takes, by the settings that would lower it."""
    copies = 2 if train["optimiser"] == "sgd" else 4  # the best epoch's beside them; adam has two moments
    stacks = 1 + network["bidirectional"]
    steps = 1 if train["reset"] == "sentence" else train["window"]  # how long sentences are is not known here
    gates = GATES[network["cell"]] * sum(sizes_of(network["hidden"], network["layers"]))
    states = steps * train["columns"] * stacks * gates
    way_out = "" if network["softmax"] == "adaptive" else ", or set network.softmax: adaptive, and network.tied: false"
    return {
        f"vocabulary.max_size or network.embedding{way_out}": 4 * copies * _by_type(network, sizes["vocabulary"]),
        "network.hidden, network.embedding or network.layers": 4 * copies * _in_stacks(network),
        "train.window or train.columns": 4 * states,
    }


def parameters(network: Mapping[str, Any], sizes: Mapping[str, int]) -> int:
    """The numbers in the matrices of the network, without drawing one."""
    return _in_stacks(network) + _by_type(network, sizes["vocabulary"])


def _in_stacks(network: Mapping[str, Any]) -> int:
    sizes, read = sizes_of(network["hidden"], network["layers"]), network["embedding"]
    last, of_stack = sizes[-1], 0
    for number, size in enumerate(sizes):
        of_stack += in_layers(network["cell"], size, read, 1)
        read = network["embedding"] + (number + 1) * size if network["connection"] == "dense" else size
    of_stack += last * last * (len(sizes) - 1) if network["connection"] == "highway" else 0
    return int(2 * of_stack + 2 * last * last if network["bidirectional"] else of_stack)


def _by_type(network: Mapping[str, Any], types: int) -> int:
    """In the embedding and the output, which grow with the vocabulary; the clusters are those of `AdaptiveSoftmax`."""
    *_, hidden = sizes_of(network["hidden"], network["layers"])
    inputs = network["embedding"] * types
    if network["softmax"] == "full":
        return int(inputs if network["tied"] else inputs + hidden * types)
    ends = [*(cutoff for cutoff in network["cutoffs"] if cutoff < types), types]
    for number, (first, end) in enumerate(pairwise(ends), 1):
        inputs += max(hidden // 4**number, 1) * (hidden + end - first)
    return int(inputs + hidden * (ends[0] + len(ends) - 1))
