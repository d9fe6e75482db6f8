"""The network: what each head may see, and that a seed decides everything."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unrolled.recurrence.cells import CELLS
from unrolled.recurrence.dropout import dropout, dropped_types
from unrolled.recurrence.layer import RecurrentLayer
from unrolled.recurrence.stack import CONNECTIONS
from unrolled.tasks.language_model.model.network import Network

V, T, B = 11, 6, 2
ADAPTIVE: dict[str, Any] = {"tied": False, "softmax": "adaptive", "cutoffs": (3, 7)}


def network(
    cell: str = "lstm",
    *,
    bidirectional: bool = False,
    layers: int = 1,
    tied: bool = True,
    seed: int = 0,
    **options: Any,
) -> Network:
    generator = torch.Generator().manual_seed(seed)
    return Network(
        V,
        cell=cell,
        bidirectional=bidirectional,
        embedding=4,
        hidden=4,
        layers=layers,
        tied=tied,
        generator=generator,
        **options,
    ).double()


def padded(seed: int = 0) -> Tensor:
    return torch.randint(0, V, (T + 2, B), generator=torch.Generator().manual_seed(seed))


def logits_of(net: Network, tokens: Tensor) -> dict[str, Tensor]:
    heads, _ = net.hidden(tokens[:-2], tokens[2:], net.initial_state(B))
    return {head: net.logits(hidden) for head, hidden in heads.items()}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("layers", "connection"), [(1, "plain"), *((3, connection) for connection in CONNECTIONS)])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_no_head_sees_its_target(cell: str, layers: int, connection: str, bidirectional: bool) -> None:
    """d logit_t / d embedding of its own target = 0: a token's own row is only ever changed by its neighbours' reading.

    The tokens are all different, so that the embedding of the target of one position is read at no other of them.
    """
    net = network(cell, bidirectional=bidirectional, layers=layers, tied=False, connection=connection)
    tokens = torch.arange(T + 2)[:, None].expand(-1, B)
    for head, logits in logits_of(net, tokens).items():
        for t in range(T):
            gradient = torch.autograd.grad(logits[t].sum(), net.embedding.weight, retain_graph=True)[0].abs().sum(1)
            target = t + 1  # the token at row t + 1 of the padded stream
            left, right = gradient[:target].bool(), gradient[target + 1 : T + 2].bool()
            assert gradient[target] == 0, f"{head} head reads its target at {t}"
            assert head != "backward" or not left.any()
            assert head != "forward" or not right.any()
            if cell != "relu":  # whose units may be dead
                assert (head == "backward" or left.all()) and (head == "forward" or right.all())


def test_a_naive_bidirectional_layer_does_see_its_target() -> None:
    """The leak this network is built to avoid, so that the test above is known to be able to fail."""
    embedding = torch.randn(T, B, 4, requires_grad=True)
    naive, _ = nn.LSTM(4, 4, bidirectional=True)(embedding)
    target = torch.autograd.grad(naive[0].sum(), embedding)[0][1]  # output 0 predicts token 1
    assert target.abs().sum() > 0


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("connection", CONNECTIONS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_two_windows_with_the_state_carried_are_one_long_window(
    cell: str, connection: str, bidirectional: bool
) -> None:
    net, tokens = network(cell, bidirectional=bidirectional, layers=3, connection=connection), padded()
    whole, _ = net.hidden(tokens[:-2], tokens[2:], net.initial_state(B))
    first, right = slice(0, 4), slice(4, T)
    left_in, right_in = tokens[:-2], tokens[2:]
    backward = net.initial_state(B).backward
    if bidirectional:
        backward = net.read("backward", right_in[right], backward)[1]
    start = net.initial_state(B)._replace(backward=backward)
    heads, after = net.hidden(left_in[first], right_in[first], start)
    rest, _ = net.hidden(left_in[right], right_in[right], net.initial_state(B)._replace(forward=after.forward))
    for head in whole:
        torch.testing.assert_close(torch.cat([heads[head], rest[head]]), whole[head], rtol=1e-12, atol=1e-12)


def test_the_stacks_are_a_torch_twin() -> None:
    """Both stacks against torch.nn.LSTM: forward over the left tokens, backward over the right ones, reversed."""
    net, tokens = network(bidirectional=True, layers=2), padded()
    heads, _ = net.hidden(tokens[:-2], tokens[2:], net.initial_state(B))
    for name, inputs in (("forward", tokens[:-2]), ("backward", tokens[2:].flip(0))):
        twin = nn.LSTM(4, 4, num_layers=2).double()
        for index, layer in enumerate(net.stacks[name].layers):
            getattr(twin, f"weight_ih_l{index}").data = layer.weight_ih.data
            getattr(twin, f"weight_hh_l{index}").data = layer.weight_hh.data
            getattr(twin, f"bias_ih_l{index}").data = layer.bias.data
            getattr(twin, f"bias_hh_l{index}").data.zero_()
        expected, _ = twin(net.embedding(inputs))
        expected = expected.flip(0) if name == "backward" else expected
        torch.testing.assert_close(heads[name], expected, rtol=1e-10, atol=1e-10)


def test_tied_weights_are_one_matrix() -> None:
    tied, untied = network(tied=True), network(tied=False)
    assert tied.output_weight is tied.embedding.weight
    assert untied.output_weight is not untied.embedding.weight
    with pytest.raises(ValueError, match="embedding = hidden of the last layer, not 3 and 4"):
        Network(V, cell="rnn", bidirectional=False, embedding=3, hidden=4, layers=1, tied=True)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("output", [{"tied": False}, {"tied": True}, ADAPTIVE])
@pytest.mark.parametrize("connection", CONNECTIONS)
def test_the_groups_hold_every_parameter_once(bidirectional: bool, output: dict[str, Any], connection: str) -> None:
    net = network(bidirectional=bidirectional, layers=3, connection=connection, **output)
    grouped = [id(parameter) for group in net.groups().values() for parameter in group]
    assert sorted(grouped) == sorted(id(parameter) for parameter in net.parameters())
    stacks = ("forward", "backward") if bidirectional else ("forward",)
    layers = [f"{stack}.{index}" for stack in stacks for index in range(3)]
    assert list(net.groups()) == ["embedding", *layers, "head"]


def test_a_seed_decides_the_weights_whatever_was_drawn_before() -> None:
    first = network(seed=3).state_dict()
    torch.rand(5)
    again, other = network(seed=3).state_dict(), network(seed=4).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["embedding.weight"], other["embedding.weight"])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_the_order_in_which_weights_are_drawn(cell: str, bidirectional: bool, tied: bool) -> None:
    """A seed stands for the same weights for good: once drawn in another order, no earlier run could be repeated."""
    net = network(cell, bidirectional=bidirectional, layers=2, tied=tied, seed=7)
    of_a_layer = ["weight_ih", "weight_hh", "bias", *(["bias_hh"] if cell == "gru" else [])]
    names = ["embedding.weight"]
    for stack in ("forward_stack", "backward_stack") if bidirectional else ("forward_stack",):
        names += [f"{stack}.layers.{layer}.{part}" for layer in (0, 1) for part in of_a_layer]
    names += ["join.weight", "join.bias"] if bidirectional else []
    names += [] if tied else ["output.weight"]

    found, generator = net.state_dict(), torch.Generator().manual_seed(7)
    assert sorted(found) == sorted([*names, "output_bias"])
    for name in names:
        bound = 0.1 if name in ("embedding.weight", "output.weight") else 4**-0.5
        drawn = torch.empty(found[name].shape).uniform_(-bound, bound, generator=generator)
        assert torch.equal(found[name], drawn.double()), name
    assert not found["output_bias"].any()


def test_weights_come_from_the_generator_alone() -> None:
    before = torch.get_rng_state()
    network(bidirectional=True, layers=3, tied=False, connection="highway", initialisation="orthogonal")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("cell", "options"),
    [
        ("gru", {"initialisation": "orthogonal"}),
        ("relu", {"initialisation": "identity"}),
        ("lstm", {"initialisation": "chrono", "longest": 50}),
        ("lstm", {"initialisation": "orthogonal", "forget_bias": 1.0}),
    ],
)
def test_every_layer_starts_as_it_was_told(cell: str, options: dict[str, Any]) -> None:
    """What a layer makes of each is tested with the cells; here, that all of both stacks do, from one generator."""
    net = network(cell, bidirectional=True, layers=2, seed=7, **options)
    generator = torch.Generator().manual_seed(7)
    torch.empty(V, 4).uniform_(generator=generator)  # the embedding's draw
    for stack in net.stacks.values():
        for layer in stack.layers:
            alone = RecurrentLayer(cell, 4, 4, generator=generator, **options).double()
            for ours, expected in zip(layer.parameters(), alone.parameters(), strict=True):
                assert torch.equal(ours, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": "lsmt"}, "cell: unknown name 'lsmt'; did you mean 'lstm'"),
        ({"layers": 0}, "layers must be at least 1, not 0"),
        ({"connection": "resdual"}, "connection: unknown name 'resdual'; did you mean 'residual'"),
        ({"dropout_mask": "widow"}, "dropout_mask: unknown name 'widow'; did you mean 'window'"),
        ({"dropout": 1}, "dropout must be at least 0 and below 1, not 1"),
        ({"dropout": -0.1}, "dropout must be at least 0 and below 1, not -0.1"),
        ({"dropout": float("nan")}, "dropout must be at least 0 and below 1, not nan"),
        ({"weight_dropout": 1.0}, "weight_dropout must be at least 0 and below 1, not 1.0"),
        ({"embedding_dropout": -1.0}, "embedding_dropout must be at least 0 and below 1, not -1.0"),
        ({"initialisation": "ortogonal"}, "initialisation: unknown name 'ortogonal'; did you mean 'orthogonal'"),
        ({"initialisation": "chrono", "longest": 2}, "longest >= 3, not LSTM, 2"),
        ({"cell": "gru", "forget_bias": 1.0}, "forget_bias is for LSTM, not GRU"),
    ],
)
def test_a_bad_argument_is_named_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        network(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_weight_dropout_is_the_layer_with_a_mask_over_its_recurrent_matrix(cell: str) -> None:
    layer = RecurrentLayer(cell, 4, 5, weight_dropout=0.5, generator=torch.Generator().manual_seed(0))
    twin = copy.deepcopy(layer)
    inputs, state = torch.randn(6, 3, 4), layer.initial_state(3)
    kept = dropout(torch.ones_like(layer.weight_hh), 0.5, torch.Generator().manual_seed(3))
    outputs, _ = layer(inputs, state, generator=torch.Generator().manual_seed(3))
    outputs.sum().backward()
    twin.weight_hh.data *= kept
    expected, _ = twin(inputs, state)
    expected.sum().backward()
    torch.testing.assert_close(outputs, expected)
    assert layer.weight_hh.grad is not None and twin.weight_hh.grad is not None
    torch.testing.assert_close(layer.weight_hh.grad, twin.weight_hh.grad * kept)
    assert not torch.equal(layer(inputs, state)[0], outputs)  # and without a generator nothing drops out


def test_embedding_dropout_takes_whole_words_out_of_a_window() -> None:
    sizes = {"cell": "lstm", "bidirectional": False, "embedding": 4, "hidden": 5, "layers": 1, "tied": False}
    net = Network(30, **sizes, embedding_dropout=0.4, generator=torch.Generator().manual_seed(0))
    twin = copy.deepcopy(net)
    tokens = torch.randint(30, (50, 3), generator=torch.Generator().manual_seed(1))
    kept = dropped_types(30, 0.4, torch.Generator().manual_seed(2), net.embedding.weight)
    assert kept is not None and sorted(set(kept.tolist())) == pytest.approx([0, 1 / 0.6])
    outputs, _ = net.read("forward", tokens, net.initial_state(3).forward, torch.Generator().manual_seed(2))
    outputs.sum().backward()
    twin.embedding.weight.data *= kept[:, None]
    expected, _ = twin.read("forward", tokens, twin.initial_state(3).forward)
    expected.sum().backward()
    torch.testing.assert_close(outputs, expected)
    assert net.embedding.weight.grad is not None and twin.embedding.weight.grad is not None
    torch.testing.assert_close(net.embedding.weight.grad, twin.embedding.weight.grad * kept[:, None])


def test_one_range_stands_for_every_bound_of_the_initial_weights() -> None:
    sizes = {"cell": "lstm", "bidirectional": True, "embedding": 8, "hidden": 8, "layers": 2, "tied": False}
    for connection in ("plain", "residual", "dense"):
        net = Network(
            50, **sizes, connection=connection, initial_range=0.03, generator=torch.Generator().manual_seed(0)
        )
        for name, parameter in net.named_parameters():
            assert 0.02 < parameter.abs().max() <= 0.03, name
