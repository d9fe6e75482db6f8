"""The sections of params.yaml that are speech's own, and what a training of it takes in memory."""

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
    Many,
    OfTheCell,
    ResampledSettings,
    Seed,
    Share,
    Strict,
    TrainSettings,
    WatchedPath,
    Width,
    check_feeding,
    in_layers,
)

Part = Annotated[float, Field(ge=0, le=1)]
Words = Annotated[list[Annotated[int, Field(ge=1, le=1000)]], Field(min_length=2, max_length=2)]


class StringsSettings(Strict):
    """How many strings are made of recorded words."""

    train: Count
    valid: Count
    test: Count


class CorpusSettings(Strict):
    name: Literal["digits", "words", "utterances"]
    path: WatchedPath
    pattern: Annotated[str, Field(min_length=1)]
    transcript: Annotated[str, Field(min_length=1)]
    sample_rate: Annotated[int, Field(ge=4000, le=48000)]
    unseen: list[str]
    strings: StringsSettings
    lengths: Words
    longer: Words | None
    branching: Many
    valid_share: Share
    test_share: Share
    seed: Seed

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for key in ("lengths", "longer"):
            ends = getattr(self, key)
            if ends and ends[0] > ends[1]:
                raise ValueError(
                    f"{key}: the shortest string is longer than the longest, {ends[0]} and {ends[1]} words"
                )
        if self.name != "utterances" and self.longer and self.longer[0] <= self.lengths[1]:
            raise ValueError(
                f"longer: strings of {self.longer[0]} words are no longer than those of lengths, which have up to "
                f"{self.lengths[1]}; begin above, or set null"
            )
        if self.valid_share + self.test_share >= 1:
            raise ValueError("valid_share + test_share must leave something to train on (below 1)")
        if self.name == "digits" and self.sample_rate != 8000:
            raise ValueError(f"sample_rate: the digits are recorded at 8000 Hz, not {self.sample_rate}")
        return self


class FeatureSettings(Strict):
    """What the audio and its text are encoded as."""

    unit: Literal["word", "character"]
    mels: Annotated[int, Field(ge=4, le=128)]


class NetworkSettings(Strict):
    conditioning: Literal["none", "initial_state", "attention"]
    cell: CellName
    bidirectional: bool
    hidden: Width
    layers: Layers
    frames_per_step: Annotated[int, Field(ge=1, le=100)]
    pyramid: bool
    attention: Width
    filters: Annotated[int, Field(ge=0, le=2**12)]
    filter_width: Annotated[int, Field(ge=1, le=1001)]
    ctc: bool
    decoder: CellName
    decoder_embedding: Width
    decoder_hidden: Width
    dropout: DropoutRate
    initialisation: Annotated[Literal["uniform", "orthogonal", "identity"], OfTheCell]
    forget_bias: ForgetBias

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.filter_width % 2 == 0:
            raise ValueError(f"filter_width must be odd, to have a middle, not {self.filter_width}")
        return self


class BatchedTrainSettings(TrainSettings):
    utterances: Count
    ctc_weight: Part
    tempo: Annotated[float, Field(ge=0, lt=1)]
    vocal_tract: Annotated[float, Field(ge=0, lt=1)]
    noise: Annotated[float, Field(ge=0, lt=1)]
    masks: Annotated[int, Field(ge=0, le=100)]
    feeding: Literal["teacher", "own", "scheduled"]
    prompt: Annotated[int, Field(ge=0, le=10**9)]
    schedule: Literal["linear", "exponential", "inverse_sigmoid"]
    schedule_steps: Count
    horizon: Count | None
    teacher_epochs: Annotated[int, Field(ge=0, le=10**9)]


class EvaluateSettings(ResampledSettings):
    beam: Annotated[int, Field(ge=1, le=64)]
    ctc_share: Part
    shown_utterances: Annotated[int, Field(ge=0, le=12)]
    unheard_epochs: Annotated[int, Field(ge=1, le=10**4)]


SECTIONS: dict[str, type[Strict]] = {
    "corpus": CorpusSettings,
    "vocabulary": FeatureSettings,
    "network": NetworkSettings,
    "train": BatchedTrainSettings,
    "evaluate": EvaluateSettings,
    "probe": LyapunovSettings,
}


def check_arm(network: Mapping[str, Any], train: Mapping[str, Any]) -> None:
    """ValueError where the two sections do not go together."""
    if train["ctc_weight"] and not (network["ctc"] and network["conditioning"] != "none"):
        why = "set network.ctc: true" if network["conditioning"] != "none" else "there is no encoder"
        raise ValueError(
            f"train.ctc_weight {train['ctc_weight']} is of a CTC head, which this arm has not: {why}, or 0"
        )
    if not train["ctc_weight"] and network["ctc"] and network["conditioning"] != "none":
        raise ValueError("network.ctc: true is a head that ctc_weight 0 never teaches; set it to false, or raise that")
    if train["ctc_weight"] == 1 and network["conditioning"] != "none":
        raise ValueError("ctc_weight 1 leaves the language model untaught; set it below 1")
    check_feeding(train)


def memory(network: Mapping[str, Any], train: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, int]:
    """A lower bound of the bytes that training takes, by the settings that would lower it."""
    copies = 2 if train["optimiser"] == "sgd" else 4  # the best epoch's beside them; adam has two moments
    return {
        "network.hidden, network.decoder_hidden or network.layers": 4 * copies * parameters(network, sizes),
        "train.utterances": 4 * train["utterances"] * GATES[network["cell"]] * network["hidden"],
    }


def parameters(network: Mapping[str, Any], sizes: Mapping[str, int]) -> int:
    """The numbers in the matrices of the encoder and the language model, without drawing one."""
    hidden, stacks, layers = network["hidden"], 1 + network["bidirectional"], network["layers"]
    above = 2 * stacks * hidden if network["pyramid"] else hidden
    read = sizes["features"] * network["frames_per_step"] + above * (layers - 1)
    encoder = stacks * in_layers(network["cell"], hidden, read, layers) if network["conditioning"] != "none" else 0
    own, embedding = network["decoder_hidden"], network["decoder_embedding"]
    decoder = in_layers(network["decoder"], own, embedding, 1) + sizes["vocabulary"] * (embedding + own)
    return int(encoder + decoder)
