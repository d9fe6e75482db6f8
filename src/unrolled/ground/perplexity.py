"""Perplexity, the effective branching factor; apart from the other measures, so that training needs none of those."""

import math


def exp(value: float) -> float:
    """e^value; inf where that overflows, which is a result here: an unclipped arm explodes."""
    try:
        return math.exp(value)
    except OverflowError:  # above 709 nats
        return math.inf


def perplexity(nats: float, tokens: int) -> float:
    """exp(nats / tokens), taken once, at the end; inf where that overflows, nan for nan."""
    if tokens < 1:
        raise ValueError(f"perplexity of {tokens} tokens is undefined: score at least one")
    return exp(float(nats) / tokens)
