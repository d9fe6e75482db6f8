"""Dropout masks, compiled: the same random numbers as torch's generator, many times as fast, and on one thread.

`bernoulli_` draws element by element, and whoever multiplies with the mask then has to wake the threads that fell
asleep over it. Here the Mersenne Twister (Matsumoto & Nishimura 1998) takes its block of 624 words a step further in
one vectorised loop. What is that quick needs no second thread, so no mask can depend on their number.

    Generator.get_state()     seed | words left in the block, and one | place of the next word | the words | normals
    an element                two words, the later 32 bits and 21 of the earlier: kept if below share x 2^53
"""

import math

import numpy as np
import torch
from numba import njit
from torch import Tensor

from unrolled.recurrence.compiled.arithmetic import CONTRACT
from unrolled.recurrence.compiled.openmp import arguments, array, run

BLOCK, MIDDLE = 624, 397  # words of the twister's state, and how far ahead it looks
PLACES = 3  # 64-bit numbers of torch's state before the words
STATE = 8 * (PLACES + BLOCK + 5)  # its bytes
PAIRS = 1024  # elements at a time: what they are drawn from stays in the cache
BITS_32, BITS_21 = np.int64(2**32 - 1), np.int64(2**21 - 1)


@njit(inline="always")
def _twisted(word, later):
    """The highest bit of one word and the others of the next, times the twister's matrix."""
    odd = np.uint32(-(np.int32(later) & np.int32(1)))
    both = (word & np.uint32(0x80000000)) | (later & np.uint32(0x7FFFFFFF))
    return (both >> np.uint32(1)) ^ (np.uint32(0x9908B0DF) & odd)


@njit
def _next_block(words):
    for i in range(BLOCK - MIDDLE):
        words[i] = words[i + MIDDLE] ^ _twisted(words[i], words[i + 1])
    for i in range(BLOCK - MIDDLE, BLOCK - 1):
        words[i] = words[i + MIDDLE - BLOCK] ^ _twisted(words[i], words[i + 1])
    words[BLOCK - 1] = words[MIDDLE - 1] ^ _twisted(words[BLOCK - 1], words[0])


@njit
def _temper(words, drawn):
    for i in range(len(words)):
        y = words[i]
        y ^= y >> np.uint32(11)
        y ^= (y << np.uint32(7)) & np.uint32(0x9D2C5680)
        y ^= (y << np.uint32(15)) & np.uint32(0xEFC60000)
        drawn[i] = y ^ (y >> np.uint32(18))


@njit
def _compare(pairs, kept, below):
    for i in range(len(kept)):  # the earlier word is a pair's lower half in memory, and the upper one of the number
        number = ((pairs[i] & BITS_21) << np.int64(32)) | ((pairs[i] >> np.int64(32)) & BITS_32)
        kept[i] = number < below


def _draw(data):
    _, _, count, below, of_state, of_words, of_pairs, of_kept = arguments(data, 6)
    state, words = array(of_state, (PLACES + BLOCK,), np.int64), array(of_words, (BLOCK,), np.uint32)
    pairs, drawn = array(of_pairs, (PAIRS,), np.int64), array(of_pairs, (2 * PAIRS,), np.uint32)
    kept = array(of_kept, (count,), np.uint8)
    for i in range(BLOCK):
        words[i] = state[PLACES + i]
    place = BLOCK + 1 - (state[1] & BITS_32)
    for first in range(0, count, PAIRS):
        last = min(first + PAIRS, count)
        done, wanted = 0, 2 * (last - first)
        while done < wanted:
            if place == BLOCK:
                _next_block(words)
                place = 0
            taken = min(BLOCK - place, wanted - done)
            _temper(words[place : place + taken], drawn[done : done + taken])
            done, place = done + taken, place + taken
        _compare(pairs, kept[first:last], below)
    for i in range(BLOCK):
        state[PLACES + i] = words[i]
    state[1] += BLOCK + 1 - place - (state[1] & BITS_32)
    state[2] = place


@njit(error_model="numpy", fastmath=CONTRACT)
def _scale(values, kept, scaled, scale):
    for i in range(len(values)):
        scaled[i] = values[i] * (np.float32(kept[i]) * scale)


def _mask(data):
    _, _, repeats, count, of_values, of_kept, of_scaled, of_scale = arguments(data, 6)
    values, scaled = array(of_values, (repeats, count)), array(of_scaled, (repeats, count))
    kept, scale = array(of_kept, (count,), np.uint8), array(of_scale, (1,))
    for repeat in range(repeats):
        _scale(values[repeat], kept, scaled[repeat], scale[0])


def draw_kept(shape: torch.Size, share: float, generator: torch.Generator) -> Tensor:
    """Bool: true with probability ``share``, as `bernoulli_` draws it from torch's own twister.

    On Intel's processors `bernoulli_` asks MKL for other numbers; these are the same on all of them.
    """
    state = generator.get_state()
    if len(state) != STATE:  # of another device, or of a torch to come
        return torch.rand(shape, dtype=torch.float64, device=generator.device, generator=generator) < share
    kept, room = state.new_empty(shape, dtype=torch.bool), state.new_empty(BLOCK + 2 * PAIRS, dtype=torch.int32)
    below = math.ceil(math.ldexp(share, 53))
    run(_draw, 1, (kept.numel(), below), (state, room, room[BLOCK:], kept))
    generator.set_state(state)
    return kept


def masked(values: Tensor, kept: Tensor, scale: Tensor) -> Tensor:
    """values * (kept * scale), float32; ``kept`` of the same shape, or of one that repeats along the first axes."""
    values = values.detach().contiguous()
    scaled = torch.empty_like(values)
    run(_mask, 1, (values.numel() // max(kept.numel(), 1), kept.numel()), (values, kept, scaled, scale))
    return scaled
