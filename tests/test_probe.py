import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from unrolled.lab.fit import Step, Training, fit
from unrolled.lab.probe import probe
from unrolled.lab.runs import Probes
from unrolled.nets.exponents import lyapunov_exponents
from unrolled.nets.network import Network
from unrolled.settings import Settings
from unrolled.tasks.context import context_nats
from unrolled.tasks.language_model import predictions

PARAMS = Path(__file__).parents[1] / "params.yaml"
V, EOS = 7, 0
TOKENS = (np.cumsum(np.random.default_rng(0).integers(0, 3, 600)) % V).astype(np.uint16)
TEST = TOKENS[:120]


def settings_of(arm: str, **train: Any) -> Settings:
    settings = Settings.load(PARAMS, arm)
    changes: dict[str, dict[str, Any]] = {
        "network": {"embedding": 6, "hidden": 6},
        "train": {"epochs": 1, "columns": 4, "window": 10, "learning_rate": 2.0} | train,
        "evaluate": {"bootstrap_samples": 20},
        "probe": {"contexts": [20, 1, 5], "positions": 30, "lyapunov_steps": 40, "lyapunov_exponents": 4},
    }
    return settings.model_copy(
        update={name: getattr(settings, name).model_copy(update=change) for name, change in changes.items()}
    )


def nats_of(network: Network, text: np.ndarray = TEST) -> np.ndarray:
    return torch.cat([each.nats("forward") for each in predictions(network, text, window=30, eos=EOS)]).numpy()


def probed(place: Path, arm: str, *, norms: list[float] | None = None, text: np.ndarray = TEST, **train: Any) -> Probes:
    settings = settings_of(arm, **train)
    network = Training.of(settings, V).network
    series = pd.Series([1.0] * 14 if norms is None else norms)
    probe(
        place, network, text, nats_of(network, text), settings, EOS, series, lambda: Training.of(settings, V), TOKENS
    )  # fmt: skip
    return Probes.read(place)


@pytest.mark.parametrize("arm", ["rnn-clipped", "bilstm-clipped"])
def test_the_tables_are_what_the_measurements_give(tmp_path: Path, arm: str) -> None:
    found = probed(tmp_path / "probes", arm)
    network = Training.of(settings_of(arm), V).network
    positions = np.unique(np.linspace(20, len(TEST) - 1, 30, dtype=np.int64))
    nats = context_nats(network, TEST, positions, [1, 5, 20])
    assert found.context["context"].tolist() == [1, 5, 20, math.inf]
    expected = [each.double().mean().exp().item() for each in nats.values()]
    assert found.context["perplexity"].tolist()[:3] == pytest.approx(expected, rel=1e-5)
    assert found.context["perplexity"].iloc[3] == pytest.approx(np.exp(nats_of(network)[positions].mean()), rel=1e-5)
    assert found.context["ratio"].iloc[3] == 1
    for name, stack in network.stacks.items():
        read = network.embedding(torch.from_numpy(TEST[:40].astype(np.int64)))[:, None].detach()
        in_order = read if name == "forward" else read.flip(0)
        exponents = lyapunov_exponents(stack, in_order, stack.initial_state(1), count=4, settle=4)
        mine = found.exponents[found.exponents["stack"] == name]
        assert mine["index"].tolist() == [1, 2, 3, 4]
        assert mine["exponent"].tolist() == pytest.approx(exponents.tolist(), rel=1e-9)
    gates = found.gates
    assert len(gates) == (6 if arm.startswith("rnn") else 2 * 4 * 6)
    assert ((gates["low_share"] + gates["high_share"]) <= 1).all() and found.figures["explosion"] is None
    assert found.cliff.empty


def test_the_same_arm_gives_the_same_bytes(tmp_path: Path) -> None:
    norms = [1.0] * 4 + [50.0] + [1.0] * 9
    for name in ("first", "again"):
        probed(tmp_path / name, "lstm-clipped", norms=norms)
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_the_context_needed_is_where_the_curve_has_become_flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for ratios, needed in {
        (2.0, 1.04, 1.0): 5,
        (2.0, 1.2, 1.1): math.inf,
        (1.0, 1.2, 1.0): 20,
        (1.0, 0.9, 1.0): 1,
    }.items():
        made = {context: math.log(ratio) for context, ratio in zip((1, 5, 20), ratios, strict=True)}
        monkeypatch.setattr(
            "unrolled.lab.probe.context_nats",
            lambda network, test, positions, contexts, made=made: {
                context: torch.from_numpy(nats_of(network)[positions]) + made[context] for context in contexts
            },
        )
        assert probed(tmp_path / "probes", "rnn-clipped").figures["context_needed"] == needed


@pytest.mark.parametrize(("arm", "share"), [("rnn-clipped", 0.25), ("rnn-unclipped", 50.0)])
def test_the_landing_is_learning_rate_times_the_applied_norm(tmp_path: Path, arm: str, share: float) -> None:
    found = probed(tmp_path / "probes", arm, norms=[1.0] * 4 + [50.0] + [1.0] * 9)
    assert found.figures["explosion"] == {"step": 5, "norm": 50.0}
    landed = found.cliff[found.cliff["landed"] == 1]
    assert landed["distance"].tolist() == [2.0 * share]
    assert found.cliff["distance"].is_monotonic_increasing and found.cliff["distance"].iloc[0] == 0
    steps = fit(Training.of(settings_of(arm), V), TOKENS, TOKENS, eos=EOS)
    fifth = next(step for step in steps if isinstance(step, Step) and step.number == 5)
    assert found.cliff["loss"].iloc[0] == pytest.approx(fifth.loss, rel=1e-6)


def test_a_step_that_does_not_follow_the_gradient_lands_nowhere_on_it(tmp_path: Path) -> None:
    found = probed(tmp_path / "probes", "rnn-clipped", norms=[1.0] * 4 + [50.0], optimiser="adam")
    assert len(found.cliff) and not found.cliff["landed"].any()


def test_an_explosion_after_the_first_epoch_has_a_step_and_no_cliff(tmp_path: Path) -> None:
    found = probed(tmp_path / "probes", "rnn-clipped", norms=[1.0] * 20 + [50.0])
    assert found.figures["explosion"] == {"step": 21, "norm": 50.0} and found.cliff.empty


def test_a_text_shorter_than_the_contexts_is_probed_with_those_it_has(tmp_path: Path) -> None:
    found = probed(tmp_path / "probes", "lstm-clipped", text=TEST[:12])
    assert found.context["context"].tolist() == [1, 5, math.inf]
    assert found.context["tokens"].unique().tolist() == [7]


def test_a_network_that_exploded_is_probed_all_the_same(tmp_path: Path) -> None:
    settings = settings_of("lstm-unclipped")
    network = Training.of(settings, V).network
    with torch.no_grad():
        network.forward_stack.layers[0].weight_hh.fill_(math.nan)
    nats = np.full(len(TEST), np.inf, dtype=np.float32)
    norms = pd.Series([1.0, 1.0, 1.0, math.inf])
    probe(
        tmp_path / "probes", network, TEST, nats, settings, EOS, norms, lambda: Training.of(settings, V), TOKENS
    )  # fmt: skip
    found = Probes.read(tmp_path / "probes")
    assert math.isnan(found.figures["lyapunov_exponent"]) and math.isnan(found.figures["context_needed"])
    assert found.figures["explosion"] == {"step": 4, "norm": math.inf}
    assert len(found.cliff) and not found.cliff["landed"].any()
    assert json.loads((tmp_path / "probes" / "probe.json").read_text())["arm"] == "lstm-unclipped"
