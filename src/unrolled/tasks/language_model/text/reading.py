"""A text as a network reads it: as one stream, or each line anew, from a zero state."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from unrolled.ground.corpus import Tokens
from unrolled.ground.sequences import Ints, columns_of
from unrolled.ground.special_tokens import END_ID
from unrolled.recurrence.threads import one_thread
from unrolled.tasks.language_model.model.network import Network

WINDOW = 512  # tokens at a time; no figure depends on it
STRETCH = 1024  # tokens that the network reads in one call: of many more, malloc keeps what each thread frees
BESIDE = 4  # times as many where lines stand side by side, of which a call takes few steps
ROWS = 32  # whose logits stay in the processor's cache until they are summed, which takes half the time
SHARE = 4 * ROWS  # that a thread takes at a time


class Reader:
    """The forward head over a text that comes in parts: the next part is read with what stood before it.

    ``anew``: each line is read from a zero state, whatever stood before it, and a part is whole lines. None: as the
    network was trained.
    """

    def __init__(self, network: Network, anew: bool | None = None) -> None:
        self.network, self.anew = network, network.anew if anew is None else anew
        self._state, self._last = network.initial_state(1).forward, END_ID
        self._pool = ThreadPoolExecutor(torch.get_num_threads(), initializer=partial(torch.set_num_threads, 1))

    @torch.inference_mode()
    @one_thread()
    def nats(self, tokens: Tokens) -> Tensor:
        """-ln p of each token of the next part, [N]; what is not a number counts as infinite, for it predicts nothing.

        ValueError for a part without a token.
        """
        ids = torch.from_numpy(tokens.astype(np.int64))
        if not len(ids):
            raise ValueError("a text to score must hold at least one word")
        found = self._lines(ids) if self.anew else self._stream(ids)
        return found.nan_to_num(nan=torch.inf, posinf=torch.inf)

    def _stream(self, ids: Tensor) -> Tensor:
        """What a stretch costs is found while the next one is read."""
        nats, finding = torch.empty(len(ids)), list[Future[None]]()
        sizes = _of_few_sizes(len(ids))
        for part, own in zip(ids.split(sizes), nats.split(sizes), strict=True):
            left = torch.cat([torch.tensor([self._last]), part[:-1]])
            hidden, self._state = self.network.read("forward", left[:, None], self._state)
            self._last = int(part[-1])
            _wait(finding)
            finding = self._find(own, hidden[:, 0], part)
        _wait(finding)
        return nats

    def _lines(self, ids: Tensor) -> Tensor:
        """Lines of about one length side by side; one that takes more than a call is a stream of its own."""
        ends = np.flatnonzero(ids.numpy() == END_ID) + 1
        starts = np.array([0, *(end for end in ends.tolist() if end < len(ids))])
        lengths, nats = np.diff(starts, append=len(ids)), torch.empty(len(ids))
        for chosen in _of_about_one_length(lengths):
            if lengths[chosen[0]] > BESIDE * STRETCH:
                line = slice(starts[chosen[0]], starts[chosen[0]] + lengths[chosen[0]])
                nats[line] = Reader(self.network, anew=False)._stream(ids[line])
                continue
            places, there = map(torch.from_numpy, columns_of(starts[chosen], lengths[chosen]))  # [T, B]
            left = torch.cat([torch.full_like(places[:1], END_ID), ids[places[:-1]]])
            state = self.network.initial_state(len(chosen)).forward
            own = torch.from_numpy(lengths[chosen])
            hidden, _ = self.network.read("forward", left, state, lengths=own)
            _wait(self._find(found := torch.empty(int(own.sum())), hidden[there], ids[places[there]]))
            nats[places[there]] = found
        return nats

    def _find(self, nats: Tensor, hidden: Tensor, targets: Tensor) -> list[Future[None]]:
        """Have ``nats`` filled, each thread rows of its own: those of torch would wait for each other after every few.

        In place, as small results between large arrays would keep the heap from shrinking.
        """
        shares = zip(*(each.split(SHARE) for each in (nats, hidden, targets)), strict=True)
        return [self._pool.submit(self._find_share, *share) for share in shares]

    @torch.inference_mode()
    def _find_share(self, nats: Tensor, hidden: Tensor, targets: Tensor) -> None:
        for found, rows, own in zip(*(each.split(ROWS) for each in (nats, hidden, targets)), strict=True):
            found.copy_(cross_entropy(self.network.logits(rows), own, reduction="none"))


def _wait(finding: list[Future[None]]) -> None:
    for each in finding:
        each.result()


def forward_nats(network: Network, tokens: Tokens) -> Tensor:
    """-ln p of each token of a text by the forward head, [N], read as the network was trained."""
    return Reader(network).nats(tokens)


def last_sentence(network: Network, ids: list[int]) -> list[int]:
    """What is read of a text that goes on: all of it, or of its last sentence what there is."""
    return ids[len(ids) - ids[::-1].index(END_ID) :] if network.anew and END_ID in ids else ids


def _of_few_sizes(tokens: int) -> list[int]:
    """Stretches, and powers of two for what is left: of each size that torch's layer meets it keeps a plan."""
    whole, rest = divmod(tokens, STRETCH)
    powers = (1 << bit for bit in reversed(range(rest.bit_length())))
    return [STRETCH] * whole + [power for power in powers if rest & power]


def _of_about_one_length(lengths: Ints) -> Iterator[Ints]:
    """The numbers of the lines, the longest first, in groups of at most BESIDE * STRETCH tokens with their padding."""
    order, first = np.argsort(-lengths, kind="stable"), 0
    while first < len(order):
        size = max(1, BESIDE * STRETCH // int(lengths[order[first]]))
        yield order[first : first + size]
        first += size
