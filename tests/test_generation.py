"""Drawing: what a temperature, the k likeliest and a nucleus leave of a distribution; and texts from a network."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.ground.special_tokens import END_ID
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.text.generation import distribution, draws

V = 11

rows = st.lists(st.floats(-20, 20), min_size=2, max_size=12)


def network(*, bidirectional: bool = False) -> Network:
    return Network(
        V, cell="lstm", bidirectional=bidirectional, embedding=6, hidden=6, layers=2, tied=False, initial_range=0.9,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip


def drawn(net: Network, prompt: list[int], **options: Any) -> torch.Tensor:
    options = {"length": 12, "never": [], "generator": torch.Generator().manual_seed(3)} | options
    return torch.stack(list(draws(net, prompt, **options)))


@given(rows, st.floats(0.05, 20))
def test_a_temperature_divides_the_logits(logits: list[float], temperature: float) -> None:
    values = torch.tensor(logits, dtype=torch.float64)
    expected = [math.exp((each - max(logits)) / temperature) for each in logits]
    found = distribution(values, temperature=temperature)
    assert found.tolist() == pytest.approx([each / sum(expected) for each in expected], rel=1e-9, abs=1e-300)


@given(rows, st.integers(1, 15), st.floats(0.01, 1))
def test_what_is_left_keeps_its_proportions_and_sums_to_one(logits: list[float], top_k: int, nucleus: float) -> None:
    values = torch.tensor(logits, dtype=torch.float64)
    whole = values.softmax(-1)
    found = distribution(values, top_k=top_k, nucleus=nucleus)
    assert found.sum().item() == pytest.approx(1)
    kept = found > 0
    assert 1 <= kept.sum() <= top_k
    assert torch.allclose(found[kept] / found[kept].sum(), whole[kept] / whole[kept].sum(), rtol=1e-6)
    if kept.sum() < len(logits):
        assert whole[kept].min() >= whole[~kept].max()


@given(rows, st.floats(0.01, 1))
def test_a_nucleus_is_the_smallest_that_reaches_its_share(logits: list[float], nucleus: float) -> None:
    values = torch.tensor(logits, dtype=torch.float64)
    whole, kept = values.softmax(-1), distribution(values, nucleus=nucleus) > 0
    reached = whole[kept].sum().item()
    assert reached >= nucleus - 1e-9
    assert reached - whole[kept].min().item() < nucleus + 1e-9


@given(rows, st.sampled_from([5e-324, 1e-320, 1e-300, 1e300]), st.integers(1, 10**30))
def test_no_temperature_above_zero_is_too_odd(logits: list[float], temperature: float, top_k: int) -> None:
    """Down to the smallest number there is: equals share, as they do in the limit, and nothing overflows."""
    found = distribution(torch.tensor(logits, dtype=torch.float64), temperature=temperature, top_k=top_k + len(logits))
    assert found.sum().item() == pytest.approx(1)
    if temperature < 1:
        apart = [max(logits) - each > 700 * temperature for each in logits]
        assert [share == 0 for share in found.tolist()] == apart


def test_greedy_is_all_on_the_likeliest_and_of_equals_on_the_first() -> None:
    assert distribution(torch.tensor([1.0, 3.0, 2.0]), temperature=0).tolist() == [0, 1, 0]
    assert distribution(torch.tensor([[3.0, 3.0], [1.0, 2.0]]), temperature=0).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature must be 0"),
        ({"temperature": math.nan}, "temperature must be 0"),
        ({"top_k": 0}, "top_k must be at least 1"),
        ({"nucleus": 0.0}, "nucleus must be above 0"),
        ({"nucleus": 1.5}, "nucleus must be above 0"),
    ],
)
def test_an_argument_out_of_range_is_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        distribution(torch.zeros(3), **options)


def test_greedy_text_is_what_rereading_the_whole_text_expects() -> None:
    net, text = network(), [4, 7, 2]
    found = drawn(net, text, temperature=0.0)[:, 0].tolist()
    for token in found:
        read = torch.tensor([END_ID, *text])[:, None]
        hidden, _ = net.read("forward", read, net.initial_state(1).forward)
        assert token == net.logits(hidden[-1, 0]).argmax().item()
        text.append(token)


def test_who_was_trained_on_each_line_anew_begins_each_anew() -> None:
    net, text = network(), [4, END_ID, 7, 2]
    net.anew = True
    net.output_bias.data[END_ID] += 2
    found = drawn(net, text, length=60)[:, 0].tolist()
    again, line = torch.Generator().manual_seed(3), [7, 2]
    for token in found:
        hidden, _ = net.read("forward", torch.tensor([END_ID, *line])[:, None], net.initial_state(1).forward)
        expected = distribution(net.logits(hidden[-1]))
        assert token == torch.multinomial(expected, 1, generator=again).item()
        line = [] if token == END_ID else [*line, token]
    assert found.count(END_ID) > 3


def test_tokens_are_drawn_as_often_as_the_network_expects_them() -> None:
    net = network()
    hidden, _ = net.read("forward", torch.tensor([[END_ID], [5]]), net.initial_state(1).forward)
    expected = net.logits(hidden[-1, 0]).softmax(-1)
    first = drawn(net, [5], length=1, samples=20_000)[0]
    shares = torch.bincount(first, minlength=V) / len(first)
    assert torch.allclose(shares, expected, atol=4 * math.sqrt(0.25 / 20_000))


def test_a_seed_decides_the_text_and_columns_differ() -> None:
    one, again = (drawn(network(), [3], samples=4) for _ in range(2))
    assert torch.equal(one, again)
    assert len({tuple(column) for column in one.t().tolist()}) == 4


def test_what_shall_never_be_drawn_is_not() -> None:
    assert not {0, 4} & set(drawn(network(), [], length=300, never=[0, 4]).flatten().tolist())


def test_a_bidirectional_network_refuses_and_says_why() -> None:
    with pytest.raises(ValueError, match="cannot generate: it predicts a token from what stands on both its sides"):
        drawn(network(bidirectional=True), [3])


def test_a_network_that_exploded_refuses() -> None:
    net = network()
    net.output_bias.data.fill_(math.nan)
    with pytest.raises(ValueError, match="diverged"):
        drawn(net, [3])


def test_nothing_to_draw_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        drawn(network(), [3], length=0)
