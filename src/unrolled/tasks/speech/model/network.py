"""A language model that is told what was said: encoder, conditioning, and the language model that writes the words.

logits                                         the language model's own head
  |
h + Q context      attention: context of the audio, anew for each word      ctc: words at each time step of the audio
  |              /        \\                                                  |
language model       attention over the encoder's outputs                  encoder's outputs
  |              \\
embedding + P context of the word before
  |
words so far

initial_state: one vector, the ends of the encoder's stacks, is what the language model starts from (Sutskever, Vinyals
& Le 2014), and it is told no more. none: it is told nothing, and is the language model alone.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from unrolled.ground.special_tokens import END_ID
from unrolled.ground.task import Model
from unrolled.recurrence.cells import check_name
from unrolled.recurrence.dropout import MaskSource, check_rate
from unrolled.recurrence.profile import Profile
from unrolled.recurrence.stack import Stack, State, drawn
from unrolled.tasks.language_model.model.network import Network as LanguageModel
from unrolled.tasks.speech.model.attention import Attended, Attention
from unrolled.tasks.speech.model.encoder import Encoded, Encoder

CONDITIONINGS = ("none", "initial_state", "attention")


class Writing(NamedTuple):
    """Where the language model stands in N texts that it writes."""

    state: tuple[State, ...]
    context: Tensor | None = None  # [N, D]
    weights: Tensor | None = None  # [N, 2, T]; see `Attention`
    attended: Attended | None = None

    def of(self, rows: Tensor, *, same_sounds: bool = False) -> "Writing":
        """Those texts, in this order; ``same_sounds``: each is of the sound of the one in whose place it comes."""
        state = tuple(tuple(part[rows] for part in layer) for layer in self.state)
        if self.context is None or self.weights is None or self.attended is None:
            return Writing(state)
        attended = self.attended if same_sounds else self.attended.of(rows)
        return Writing(state, self.context[rows], self.weights[rows], attended)


class Network(Model):
    """See the picture above.

    From ``cell`` to ``pyramid`` of the encoder, as there; ``attention``, ``filters`` and ``filter_width`` as in
    `Attention`; ``decoder``, ``decoder_embedding`` and ``decoder_hidden``: the cell and sizes of the language model.
    ``dropout``: of what the encoder reads and says, and of the language model's layers. ``generator`` draws every
    weight. ValueError names an argument that does not fit.
    """

    def __init__(
        self, vocabulary: int, features: int, *, conditioning: str, cell: str, bidirectional: bool, hidden: int,
        layers: int, frames_per_step: int, pyramid: bool, attention: int, filters: int, filter_width: int, ctc: bool,
        decoder: str, decoder_embedding: int, decoder_hidden: int, dropout: float = 0.0,
        initialisation: str = "uniform", forget_bias: float | None = None,
        generator: torch.Generator | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        check_name("conditioning", conditioning, CONDITIONINGS)
        check_rate("dropout", dropout)
        self.conditioning = conditioning
        self.encoder = Encoder(
            features, cell=cell, bidirectional=bidirectional, hidden=hidden, layers=layers,
            frames_per_step=frames_per_step, pyramid=pyramid, dropout=dropout, generator=generator,
            initialisation=initialisation, forget_bias=forget_bias,
        ) if conditioning != "none" else None  # fmt: skip
        self.language_model = LanguageModel(
            vocabulary, cell=decoder, bidirectional=False, embedding=decoder_embedding, hidden=decoder_hidden, layers=1,
            tied=False, dropout=dropout, generator=generator,
        )  # fmt: skip
        width = self.encoder.width if self.encoder else 0
        self.attention = self.told = self.heard = self.started = self.ctc = None
        if conditioning == "attention":
            self.attention = Attention(width, decoder_hidden, attention, filters, filter_width, generator)
            self.told = drawn(nn.Linear, width, decoder_embedding, width**-0.5, generator, bias=False)  # P
            self.heard = drawn(nn.Linear, width, decoder_hidden, width**-0.5, generator, bias=False)  # Q
        elif conditioning == "initial_state":
            parts = len(self.language_model.initial_state(1).forward[0])
            self.started = drawn(nn.Linear, width, parts * decoder_hidden, width**-0.5, generator)
        if ctc and self.encoder:
            self.ctc = drawn(nn.Linear, width, vocabulary + 1, width**-0.5, generator)

    @property
    def device(self) -> torch.device:
        """Where its weights are, and all that it reads must be."""
        return self.language_model.device

    @property
    def stacks(self) -> dict[str, Stack]:
        """The encoder's stacks, then the language model's."""
        return {**(self.encoder.stacks if self.encoder else {}), **self.language_model.stacks}

    def groups(self) -> dict[str, list[Tensor]]:
        """The parameters by the part of the network they belong to, as gradient norms are reported."""
        named: dict[str, list[Tensor]] = {}
        for stack in self.encoder.stacks.values() if self.encoder else ():
            named |= stack.groups()
        named |= self.language_model.groups()
        beside = (self.attention, self.told, self.heard, self.started, self.ctc)
        conditioning: list[Tensor] = []
        for part in beside:
            conditioning += [] if part is None else part.parameters()
        return named | ({"conditioning": conditioning} if conditioning else {})

    def encode(
        self, features: Tensor, lengths: Tensor, generator: MaskSource | None = None, profile: Profile | None = None
    ) -> Encoded:
        """The audio, read; features [T, B, F] of so many frames each. ``generator`` draws the dropout masks."""
        if self.encoder is None:
            nothing = features.new_zeros(*features.shape[:2], 0)
            return Encoded(nothing, lengths, nothing[0])
        encoded: Encoded = self.encoder(features, lengths, generator, profile)
        return encoded

    def ctc_scores(self, encoded: Encoded) -> Tensor:
        """ln p of each word, and last of none, at each time step of the audio: [T, B, V + 1] (Graves et al. 2006)."""
        assert self.ctc is not None
        scores: Tensor = self.ctc(encoded.outputs).log_softmax(-1)
        return scores

    def begin(self, encoded: Encoded) -> Writing:
        """Before the first word of a text for each sound."""
        columns = len(encoded.lengths)
        state = self.language_model.initial_state(columns).forward
        if self.started is not None:
            hidden, *others = self.started(encoded.ends).chunk(len(state[0]), dim=-1)
            return Writing(((torch.tanh(hidden), *(each.contiguous() for each in others)),))
        if self.attention is None:
            return Writing(state)
        attended = self.attention.over(encoded.outputs, encoded.lengths)
        none = encoded.outputs.new_zeros(columns, encoded.outputs.shape[2])
        return Writing(state, none, self.attention.start(attended), attended)

    def write(
        self, words: Tensor, writing: Writing, generator: MaskSource | None = None, profile: Profile | None = None
    ) -> tuple[Tensor, Writing]:
        """Read words [L, N], each the one before what is predicted: hidden [L, N, H] for `logits`, and where it stands.

        All at once where the audio is heard no more, else one after another, as where attention looks hangs on the
        words so far.
        """
        model = self.language_model
        if self.attention is None or self.told is None or self.heard is None:
            hidden, state = model.read("forward", words, writing.state, generator, profile)
            return hidden, writing._replace(state=state)
        state, context, weights, attended = writing
        assert context is not None and weights is not None and attended is not None
        outputs = []
        for embedded in model.embedding(words):
            read = (embedded + self.told(context))[None]
            hidden, state = model.stacks["forward"](read, state, generator, profile)
            context, weights = self.attention(hidden[0], weights, attended)
            outputs.append(hidden[0] + self.heard(context))
        return torch.stack(outputs), Writing(state, context, weights, attended)

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., H] -> [..., V]."""
        return self.language_model.logits(hidden)


def before(targets: Tensor) -> Tensor:
    """The words [L, B] that are read where targets [L, B] are predicted: <eos>, then the targets but the last."""
    border = targets.new_full((1, targets.shape[1]), END_ID)
    return torch.cat([border, targets[:-1]])
