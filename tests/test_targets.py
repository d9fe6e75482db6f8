"""The gradient from chosen targets alone, through h and through c, beside plain autograd."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from miniature import SIZES, arm_of, text_of
from unrolled.probing import targets
from unrolled.probing.targets import most_dependent
from unrolled.recurrence.profile import Profile
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.probes.targets import lags_of_targets
from unrolled.training.training import Training

TEXT = text_of(400)
POSITIONS = np.array([40, 77, 131])


def network_of(name: str, **changes: Any) -> Network:
    model = Training.of(arm_of(f"{name}-clipped-1", **changes), SIZES).model
    assert isinstance(model, Network)
    return model


@pytest.mark.parametrize("name", ["rnn", "lstm", "bilstm"])
@pytest.mark.parametrize("layers", [1, 2])
def test_norms_are_those_of_one_window_with_one_loss_a_column(name: str, layers: int) -> None:
    network, steps = network_of(name, layers=layers), POSITIONS[0] // 2
    found = lags_of_targets(network, TEXT, POSITIONS)
    assert found["layer"].tolist() == [layer for layer in range(layers) for _ in range(steps)]
    rows = torch.from_numpy(TEXT[POSITIONS + np.arange(-2 * steps, 0)[:, None]].astype(np.int64))
    with torch.no_grad():
        _, state = network.read("forward", rows[:steps], network.initial_state(len(POSITIONS)).forward)
    profile = Profile()
    hidden, _ = network.read("forward", rows[steps:], state, profile=profile)
    said = torch.from_numpy(TEXT[POSITIONS].astype(np.int64))
    cross_entropy(network.logits(hidden[-1]), said, reduction="sum").backward()
    for number, layer in enumerate(network.forward_stack.layers):
        whole = found[found["layer"] == number]
        assert whole["distance"].tolist() == list(range(steps))
        assert whole["norm"].tolist() == pytest.approx(profile.norms[layer.name].flip(0).tolist(), rel=1e-4)


def by_hand(network: Network, state: Any, rows: Tensor, said: Tensor) -> tuple[list[float], list[float]]:
    """||dL/dh|| and what comes back to c, from an LSTM written out: of every step, the last first."""
    (layer,) = network.forward_stack.layers
    (h, c), hidden, cells = state[0], [], []
    for row in rows:
        drive = network.embedding(row) @ layer.weight_ih.t() + h @ layer.weight_hh.t() + layer.bias
        i, f, g, o = drive.chunk(4, dim=-1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        c = c.clone()  # what the next step reads of it
        hidden.append(h)
        cells.append(c)
    loss = cross_entropy(network.logits(h), said, reduction="sum")
    d_hidden = torch.autograd.grad(loss, hidden, retain_graph=True)
    d_cells = torch.autograd.grad(loss, cells[:-1])
    return [each.norm().item() for each in d_hidden[::-1]], [each.norm().item() for each in d_cells[::-1]]


def test_norms_of_an_lstm_are_those_of_one_written_out() -> None:
    network, steps = network_of("lstm"), POSITIONS[0] // 2
    found = lags_of_targets(network, TEXT, POSITIONS)
    rows = torch.from_numpy(TEXT[POSITIONS + np.arange(-2 * steps, 0)[:, None]].astype(np.int64))
    with torch.no_grad():
        _, state = network.read("forward", rows[:steps], network.initial_state(len(POSITIONS)).forward)
    hidden, cells = by_hand(network, state, rows[steps:], torch.from_numpy(TEXT[POSITIONS].astype(np.int64)))
    assert found["norm"].tolist() == pytest.approx(hidden, rel=1e-4)
    assert np.isnan(found["cell_norm"].iloc[0]) and found["cell_norm"].tolist()[1:] == pytest.approx(cells, rel=1e-4)


def test_a_cell_that_keeps_its_c_shows_what_h_hides() -> None:
    """An LSTM whose forget gates stand open and whose output gates are shut but at the end: c carries it all."""
    network = network_of("lstm", hidden=6, embedding=6)
    (layer,) = network.forward_stack.layers
    with torch.no_grad():
        for weight in (layer.weight_ih, layer.weight_hh, layer.bias):
            nn.init.zeros_(weight)
        layer.bias[6:12] = 20.0  # forget gates
        layer.bias[18:24] = -3.0
    found = lags_of_targets(network, TEXT, POSITIONS)
    carried = found["cell_norm"].iloc[1:]
    assert carried.to_numpy() == pytest.approx(carried.iloc[0], rel=1e-4) and carried.iloc[0] > 0
    assert not found["norm"].iloc[1:].any()


def test_a_cell_without_c_has_none_and_a_target_at_the_beginning_has_no_profile() -> None:
    assert lags_of_targets(network_of("rnn"), TEXT, POSITIONS)["cell_norm"].isna().all()
    assert lags_of_targets(network_of("rnn"), TEXT, np.array([1, 50])).empty
    assert lags_of_targets(network_of("rnn"), TEXT, np.array([], dtype=np.int64)).empty


def test_chosen_are_those_whose_cost_falls_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "TARGETS", 2)
    positions = np.array([10, 20, 30, 40])
    short, whole = np.array([1.0, 5.0, np.inf, 3.0]), np.array([1.0, 1.0, np.inf, 0.5])
    assert most_dependent(positions, short, whole).tolist() == [20, 40]
