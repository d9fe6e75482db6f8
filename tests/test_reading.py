"""A text read in parts, or line by line side by side, costs what it costs read whole, or each line alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.ground.special_tokens import END_ID
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.model.predictions import predictions
from unrolled.tasks.language_model.text import reading
from unrolled.tasks.language_model.text.reading import Reader

V = 9


def network(layers: int = 1) -> Network:
    return Network(
        V, cell="lstm", bidirectional=False, embedding=5, hidden=5, layers=layers, tied=True, initial_range=0.9,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip


def whole(net: Network, tokens: list[int]) -> list[float]:
    """As the evaluation scores a split; one token alone as the first of two, for a split has no fewer."""
    padded = np.array([*tokens, *([END_ID] if len(tokens) == 1 else [])], dtype=np.uint16)
    found = torch.cat([each.nats("forward") for each in predictions(net, padded, window=7)])
    return found[: len(tokens)].tolist()


texts = st.lists(st.integers(0, V - 1), min_size=1, max_size=60)


@settings(max_examples=30)
@given(texts, st.lists(st.integers(1, 59), max_size=3), st.integers(1, 9), st.integers(1, 2))
def test_parts_carry_on(tokens: list[int], cuts: list[int], stretch: int, layers: int) -> None:
    net = network(layers)
    reader = Reader(net, anew=False)
    parts = [part for part in np.split(np.array(tokens, dtype=np.uint16), sorted(cuts)) if len(part)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "STRETCH", stretch)
        patch.setattr(reading, "ROWS", 3)
        found = [each for part in parts for each in reader.nats(part).tolist()]
    assert found == pytest.approx(whole(net, tokens), rel=1e-4, abs=1e-5)


@settings(max_examples=30)
@given(texts, st.sampled_from([3, 8, 10_000]))
def test_lines_anew_are_lines_alone(tokens: list[int], stretch: int) -> None:
    """Longer than a call they are too, and the last may lack its end."""
    net, lines, line = network(), [], []
    for token in tokens:
        line.append(token)
        if token == END_ID:
            lines.append(line)
            line = []
    lines += [line] if line else []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "STRETCH", stretch)
        found = Reader(net, anew=True).nats(np.array(tokens, dtype=np.uint16)).tolist()
    assert found == pytest.approx([each for line in lines for each in whole(net, line)], rel=1e-4, abs=1e-5)


def test_a_text_without_a_token_is_none() -> None:
    with pytest.raises(ValueError, match="at least one word"):
        Reader(network()).nats(np.array([], dtype=np.uint16))
