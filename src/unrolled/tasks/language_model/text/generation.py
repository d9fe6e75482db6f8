"""Text from a language model: each token drawn from what the network expects next, and read before the next is drawn.

The alternative to teacher forcing: the network finishes the sentence, and whatever it says, it has to go on from.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from unrolled.ground.special_tokens import END_ID
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.text.reading import WINDOW, last_sentence


def distribution(
    logits: Tensor, *, temperature: float = 1.0, top_k: int | None = None, nucleus: float | None = None
) -> Tensor:
    """What to draw from, [..., V], given logits [..., V]; each row sums to one.

    temperature: the logits are divided by it (Ackley, Hinton & Sejnowski 1985); below 1 the likely become likelier, and
    0 is greedy, all on the likeliest. top_k: only the k likeliest (Fan, Lewis & Dauphin 2018). nucleus: only the
    likeliest whose sum first reaches this share (Holtzman et al. 2020), after the others have acted. Of equals beyond
    the last that counts, the ones of lower index stay. ValueError names an argument out of range.
    """
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be 0 (greedy) or more, not {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, not {top_k}")
    if nucleus is not None and not 0 < nucleus <= 1:
        raise ValueError(f"nucleus must be above 0 and at most 1, not {nucleus}")
    if temperature == 0:
        top_k, temperature = 1, 1.0
    # The largest is taken off first: however small the temperature, it stays 0 / temperature = 0, and no two overflow.
    scaled = (logits.double() - logits.double().amax(-1, keepdim=True)) / temperature
    probabilities, order = torch.softmax(scaled, -1).sort(dim=-1, descending=True, stable=True)
    if top_k is not None and top_k < probabilities.shape[-1]:
        probabilities[..., top_k:] = 0
        probabilities /= probabilities.sum(-1, keepdim=True)
    if nucleus is not None:
        before = probabilities.cumsum(-1) - probabilities  # the likeliest always stays: nothing stands before it
        probabilities[before >= nucleus] = 0
        probabilities /= probabilities.sum(-1, keepdim=True)
    return torch.zeros_like(probabilities).scatter_(-1, order, probabilities)


@torch.inference_mode()
def draws(
    network: Network,
    prompt: list[int],
    *,
    length: int,
    never: list[int],
    generator: torch.Generator,
    samples: int = 1,
    temperature: float = 1.0,
    top_k: int | None = None,
    nucleus: float | None = None,
) -> Iterator[Tensor]:
    """``length`` times the next token of each of ``samples`` texts after the prompt, int64 [samples], as it is drawn.

    The network reads the end of a line and the prompt first; if it was trained on each sentence from a zero state, each
    that it begins starts from one. ``never``: ids that are not drawn, whatever their probability. ValueError for a
    bidirectional network, which has no next token to draw, for one that predicts no numbers, and for arguments out of
    range.
    """
    if network.bidirectional:
        raise ValueError(
            "a bidirectional network cannot generate: it predicts a token from what stands on both its sides, and "
            "what is to its right is not yet written"
        )
    if length < 1 or samples < 1:
        raise ValueError(f"length and samples must be at least 1, not {length} and {samples}")
    *read, last = [END_ID, *last_sentence(network, prompt)]
    state = network.initial_state(samples).forward
    for part in torch.tensor(read, dtype=torch.int64)[:, None].split(WINDOW):
        _, state = network.read("forward", part.expand(-1, samples), state) if len(part) else (None, state)
    tokens = torch.full((1, samples), last)
    for _ in range(length):
        if network.anew:
            goes_on = tokens[0, :, None] != END_ID
            state = tuple(tuple(part.where(goes_on, 0.0) for part in layer) for layer in state)
        hidden, state = network.read("forward", tokens, state)
        logits = network.logits(hidden[-1])
        if not torch.isfinite(logits).all():
            raise ValueError("this network's training diverged: its predictions are not numbers")
        logits[:, never] = -torch.inf
        expected = distribution(logits, temperature=temperature, top_k=top_k, nucleus=nucleus)
        tokens = torch.multinomial(expected, 1, generator=generator).t()
        yield tokens[0]
