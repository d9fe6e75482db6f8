"""Gradient descent beside torch's, to the bit."""

import pytest
import torch
from torch import nn

from unrolled.training.descent import GradientDescent


@pytest.mark.parametrize("sparse", [False, True])
def test_it_moves_the_weights_as_torchs_sgd_does(sparse: bool) -> None:
    ours, theirs = nn.Embedding(50, 7, sparse=sparse), nn.Embedding(50, 7, sparse=sparse)
    theirs.load_state_dict(ours.state_dict())
    idle = nn.Parameter(torch.ones(3))  # never used, so it has no gradient
    descent = GradientDescent([*ours.parameters(), idle], lr=0.3)
    sgd = torch.optim.SGD(theirs.parameters(), lr=0.3)
    for step in range(4):
        ids = torch.randint(0, 50, (20,))
        for embedding, optimiser in ((ours, descent), (theirs, sgd)):
            optimiser.zero_grad()
            embedding(ids).square().sum().backward()
            optimiser.step()
        assert torch.equal(ours.weight, theirs.weight)
        if step == 1:
            for optimiser in (descent, sgd):
                content = optimiser.state_dict()
                content["param_groups"][0]["lr"] = 0.1
                optimiser.load_state_dict(content)
    assert torch.equal(idle, torch.ones(3)) and descent.param_groups[0]["lr"] == 0.1
