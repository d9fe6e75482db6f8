"""Which words are written: the best text that a beam finds by what the language model and CTC say of it together.

    score of a text = (1 - c) ln p(text | audio) of the language model + c ln p(text | audio) of CTC

(Watanabe et al. 2017, section IV). The first looks wherever attention leads it, and may lose its way where a sound is
longer than those of training; the second must pass over the whole sound in order. c = 0 is the language model alone,
and with a beam of 1 its greedy choice; c = 1 is CTC alone.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from unrolled.ground.special_tokens import END_ID, UNKNOWN_ID
from unrolled.tasks.speech.model.encoder import Encoded
from unrolled.tasks.speech.model.network import Network


class Found(NamedTuple):
    """A text as it was found: its words without <eos>, its score, and whether it ended before it was cut."""

    words: list[int]
    score: float
    ended: bool


class _Texts(NamedTuple):
    """Texts that are still written, those of one sound together."""

    sounds: Tensor  # [N], the column of each
    scores: Tensor  # [N], float64
    words: list[list[int]]

    def of(self, rows: Tensor, scores: Tensor, words: Tensor) -> "_Texts":
        """These texts, each with its word behind it."""
        longer = [[*self.words[row], word] for row, word in zip(rows.tolist(), words.tolist(), strict=True)]
        return _Texts(self.sounds[rows], scores, longer)


@torch.inference_mode()
def search(network: Network, encoded: Encoded, *, beam: int = 1, ctc_share: float = 0.0) -> list[Found]:
    """The best text of each sound; cut where it has a word for each time step of the sound."""
    columns, device = len(encoded.lengths), encoded.outputs.device
    prefixes = _Prefixes(network.ctc_scores(encoded), encoded.lengths) if ctc_share else None
    writing = network.begin(encoded)
    words = torch.full((columns,), END_ID, device=device)
    said = torch.zeros(columns, dtype=torch.float64, device=device)  # ln p by the language model
    texts = _Texts(torch.arange(columns, device=device), torch.zeros_like(said), [[] for _ in range(columns)])
    found, room = [Found([], -math.inf, False)] * columns, encoded.lengths.tolist()
    while texts.words:
        hidden, writing = network.write(words[None], writing)
        of_model = said[:, None] + network.logits(hidden[0]).double().log_softmax(-1)
        whole = (1 - ctc_share) * of_model if ctc_share < 1 else torch.zeros_like(of_model)
        if prefixes is not None:
            whole = whole + ctc_share * prefixes.extended()
        whole[:, UNKNOWN_ID] = -math.inf
        rows, words, scores = _likeliest(whole, texts.sounds, beam)
        going = _ended(found, texts, (rows, words, scores), room)
        rows, words, scores = rows[going], words[going], scores[going]
        said = of_model[rows, words]
        writing = writing.of(rows, same_sounds=torch.equal(texts.sounds[rows], texts.sounds))
        texts = texts.of(rows, scores, words)
        if prefixes is not None:
            prefixes.keep(rows, words)
    return found


def _likeliest(whole: Tensor, sounds: Tensor, beam: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of texts with each word behind them, [N, V], the ``beam`` likeliest a sound: text, word and score, each [M]."""
    count, vocabulary = whole.shape
    _, number, several = sounds.unique_consecutive(return_inverse=True, return_counts=True)
    place = torch.arange(count, device=sounds.device) - (several.cumsum(0) - several)[number]
    every = whole.new_full((len(several), int(several.max()), vocabulary), -math.inf)
    every[number, place] = whole
    scores, chosen = every.flatten(1).topk(min(beam, every[0].numel()), dim=1)
    rows = (several.cumsum(0) - several)[:, None] + chosen // vocabulary
    possible = scores.isfinite()
    return rows[possible], (chosen % vocabulary)[possible], scores[possible]


def _ended(found: list[Found], texts: _Texts, likeliest: tuple[Tensor, Tensor, Tensor], room: list[int]) -> Tensor:
    """Put into ``found`` what ends, and what is cut after so many words a sound; which of the likeliest go on, [M]."""
    every = list(zip(*(each.tolist() for each in (texts.sounds[likeliest[0]], *likeliest)), strict=True))
    for sound, row, word, score in every:
        if word == END_ID and score > found[sound].score:
            found[sound] = Found(texts.words[row], score, True)
    going = []
    for sound, row, word, score in every:
        goes_on = word != END_ID and score > found[sound].score  # no text gets likelier by a further word
        full = len(texts.words[row]) == room[sound]
        if goes_on and full and not found[sound].ended:
            found[sound] = Found(texts.words[row], float(texts.scores[row]), False)
        going.append(goes_on and not full)
    return torch.tensor(going, dtype=torch.bool, device=texts.sounds.device)


class _Prefixes:
    """ln p by CTC that a text begins with each of N prefixes (Graves 2012, section 7.5.1; Watanabe et al. 2017).

    ``scores`` [T, B, V + 1] of `Network.ctc_scores`; at first each sound has one prefix, without a word.
    """

    def __init__(self, scores: Tensor, lengths: Tensor) -> None:
        steps, columns, _ = scores.shape
        padding = torch.arange(steps, device=scores.device)[:, None] >= lengths
        scores = scores.double()
        self._nothing = scores[..., -1].masked_fill(padding, 0.0)  # [T, B]
        self._words = scores[..., :-1].masked_fill(padding[..., None], -math.inf)  # [T, B, V]
        self._sounds = torch.arange(columns, device=scores.device)
        # ln p of having said the prefix before the first time step, and after each, its last word just now or nothing
        # since: [T + 1, N]
        self._ends_in_nothing = torch.cat([self._nothing.new_zeros(1, columns), self._nothing.cumsum(0)])
        self._ends_in_word = torch.full_like(self._ends_in_nothing, -math.inf)
        self._last = torch.full_like(self._sounds, END_ID)

    def extended(self) -> Tensor:
        """[N, V]: of each prefix with each word behind it; <eos>: of the prefix and no more."""
        before = torch.logaddexp(self._ends_in_word, self._ends_in_nothing)
        words = self._words.index_select(1, self._sounds)
        # A word that is the last one again must have nothing between.
        texts = torch.arange(len(self._last), device=before.device)
        again = self._ends_in_nothing[:-1] + words[:, texts, self._last]
        entering = words.add_(before[:-1, :, None])  # begins at t
        entering[:, texts, self._last] = again
        found = entering.logsumexp(0)
        found[:, END_ID] = before[-1]
        return found

    def keep(self, rows: Tensor, words: Tensor) -> None:
        """Go on with these prefixes, each with its word behind it."""
        before = torch.logaddexp(self._ends_in_word, self._ends_in_nothing)[:-1, rows]
        before = torch.where(words == self._last[rows], self._ends_in_nothing[:-1, rows], before)
        self._sounds, self._last = self._sounds[rows], words
        said, nothing = self._words[:, self._sounds, words], self._nothing[:, self._sounds]
        entering = before + said
        self._ends_in_word = said.new_full((len(said) + 1, len(rows)), -math.inf)
        self._ends_in_nothing = self._ends_in_word.clone()
        in_word, in_nothing = self._ends_in_word.unbind(), self._ends_in_nothing.unbind()
        for step, (here, begun, pause) in enumerate(
            zip(said.unbind(), entering.unbind(), nothing.unbind(), strict=True)
        ):
            torch.logaddexp(in_word[step] + here, begun, out=in_word[step + 1])
            torch.logaddexp(in_word[step], in_nothing[step], out=in_nothing[step + 1]).add_(pause)
