"""Each check lets what is right pass, and names what is not."""

import numpy as np
import pytest
import torch

from unrolled.scoring import checks
from unrolled.shell.errors import UserError
from unrolled.tasks.language_model.evaluation.checks import no_head_sees_its_target
from unrolled.tasks.language_model.model.network import Network

V = 11
TOKENS = np.random.default_rng(0).integers(0, V, 90).astype(np.uint16)


def network(**changes: object) -> Network:
    settings = {"embedding": 6, "hidden": 6, "layers": 2, "dropout": 0.3, "tied": True, "bidirectional": True}
    return Network(V, cell="lstm", generator=torch.Generator().manual_seed(0), **(settings | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("bidirectional", [False, True])
def test_our_networks_do_not_see_their_targets(bidirectional: bool) -> None:
    no_head_sees_its_target(network(bidirectional=bidirectional), TOKENS)


def test_a_head_that_reads_its_target_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forward stack that is given what stands at the place, as a shift forgotten would."""
    leaking, read = network(bidirectional=False), Network.read
    monkeypatch.setattr(Network, "read", lambda self, name, tokens, *rest: read(self, name, tokens.roll(-1, 0), *rest))
    with pytest.raises(UserError, match="no head sees its target: the forward head"):
        no_head_sees_its_target(leaking, TOKENS)


def test_a_network_that_diverged_has_nothing_to_check() -> None:
    spoilt = network()
    spoilt.output_bias.data.fill_(torch.nan)
    no_head_sees_its_target(spoilt, TOKENS)
    checks.probabilities_sum_to_one("forward", np.full((3, V), np.nan, dtype=np.float32))
    checks.no_probability_above_one({"forward": np.array([1.0, np.inf])})


def test_probabilities_that_do_not_sum_to_one_are_found() -> None:
    even = np.full((3, V), 1 / V, dtype=np.float32)
    checks.probabilities_sum_to_one("forward", even)
    even[1, 2] += 0.01
    with pytest.raises(UserError, match=r"probabilities sum to one: those of forward are off by 0\.01"):
        checks.probabilities_sum_to_one("forward", even)


def test_a_probability_above_one_and_a_unit_too_few_are_found() -> None:
    nats = {"forward": np.array([0.0, 2.0]), "joined": np.array([-0.5, 1.0])}
    with pytest.raises(UserError, match=r"no probability above one: joined gives a token -0\.5 nats"):
        checks.no_probability_above_one(nats)
    checks.every_unit_scored_once(nats, 2)
    with pytest.raises(UserError, match="every unit scored once: forward has 2 scores for 3 units"):
        checks.every_unit_scored_once(nats, 3)
