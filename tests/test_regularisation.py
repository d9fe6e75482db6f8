"""AR and TAR: the loss has their gradient, as autograd has it of the sums written out, and keeps its own value."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from miniature import TYPES, split_of, text_of
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.model.regularisation import Regularisation
from unrolled.tasks.language_model.model.task import Task

TRAIN = {"columns": 3, "window": 6, "optimiser": "sgd", "weight_decay": 0.0}
SPLIT = split_of(text_of(3 * 13))  # windows of 6, 6 and 1


def penalty_by_hand(alpha: float, beta: float, outputs: Tensor, dropped: Tensor) -> Tensor:
    steps, columns, units = outputs.shape
    total = alpha * sum((row * row).sum() for row in dropped) / (steps * columns * units)
    for before, after in pairwise(outputs):
        total = total + beta * ((after - before) ** 2).sum() / ((steps - 1) * columns * units)
    return total


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("alpha", "beta"), [(2.0, 1.0), (0.0, 1.0), (2.0, 0.0)])
def test_the_gradient_is_that_of_the_penalties_written_out_and_the_value_that_of_the_nats(
    alpha: float, beta: float, bidirectional: bool
) -> None:
    torch.manual_seed(1)
    of_output = {"input": 0.0, "between": 0.0, "output": 0.5}
    network = Network(
        TYPES, cell="lstm", bidirectional=bidirectional, embedding=4, hidden=[5, 4], layers=2, tied=True,
        dropout=of_output, dropout_mask="window", initial_range=0.5,
    ).double()  # fmt: skip
    coefficients = {"activation_regularisation": alpha, "temporal_activation_regularisation": beta}
    task, plain = Task(TRAIN | coefficients), Task(TRAIN)
    for batch in task.batches(SPLIT):
        entry = task.entry(network, batch, task.start(network))
        total, terms, _ = task.loss(network, batch, entry, generator=torch.Generator().manual_seed(2))
        assert total.item() == plain.loss(network, batch, entry, generator=torch.Generator().manual_seed(2))[0].item()
        window, masks = batch.window, torch.Generator().manual_seed(2)
        dropped, _ = network.hidden(window.left, window.right, entry, generator=masks)
        whole, _ = network.hidden(window.left, window.right, entry)
        heads, targets = dropped.values(), window.target.flatten()
        by_hand = torch.stack([cross_entropy(network.logits(each).flatten(0, 1), targets) for each in heads]).mean()
        for name in network.stacks:
            by_hand = by_hand + penalty_by_hand(alpha, beta, whole[name], dropped[name])
        parameters = list(network.parameters())
        ours, theirs = (torch.autograd.grad(each, parameters) for each in (total / terms, by_hand))
        for gradient, expected in zip(ours, theirs, strict=True):
            torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


def test_of_a_small_case() -> None:
    outputs = torch.tensor([[[1.0, 2.0]], [[3.0, 2.0]], [[3.0, -2.0]]])
    assert Regularisation(0.0, 1.0).penalty(outputs, outputs * 0).item() == (4 + 16) / 4
    assert Regularisation(2.0, 1.0).penalty(outputs, outputs * 2).item() == pytest.approx(2 * 4 * 31 / 6 + 5)
    assert Regularisation(2.0, 1.0).penalty(outputs[:1], outputs[:1]).item() == 2 * 5 / 2  # one step changes nothing
