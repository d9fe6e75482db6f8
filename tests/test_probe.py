"""The probes of an arm: what its tables hold is what the measurements give, and which explosion is looked at."""

import json
import math
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.utils import parameters_to_vector

from miniature import SIZES, arm_of, corpus_of, section_of, split_of, text_of
from unrolled.ground.corpus import Tokens
from unrolled.probing.exponents import lyapunov_exponents
from unrolled.probing.gates import gate_values_of_stack
from unrolled.probing.probe import Probes, _explosion, probe
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.model.predictions import predictions
from unrolled.tasks.language_model.model.task import Task
from unrolled.tasks.language_model.probes import probes
from unrolled.tasks.language_model.probes.context import context_nats
from unrolled.training.fit import Step, fit
from unrolled.training.training import Training

TEXT = text_of(600)
TEST = TEXT[:120]
SETTINGS = {
    "evaluate": section_of("evaluate", bootstrap_samples=20),
    "probe": section_of("probe", contexts=[20, 1, 5], positions=30, lyapunov_steps=40, lyapunov_exponents=4),
}
STEPS = 15  # of an epoch


def settings_of(name: str, **train: Any) -> dict[str, Any]:
    return arm_of(name, **({"window": 10, "learning_rate": 2.0} | train))


def network_of(name: str) -> Network:
    model = Training.of(settings_of(name), SIZES).model
    assert isinstance(model, Network)
    return model


def nats_of(network: Network, text: Tokens = TEST) -> np.ndarray:
    return torch.cat([each.nats("forward") for each in predictions(network, text, window=30)]).numpy()


def run_of(name: str, network: Network, norms: list[float], **train: Any) -> Any:
    """What is read of a run: ``norms`` are its gradient's, step by step, and the loss leaps behind the largest."""
    numbers = np.arange(len(norms))
    loss = np.where(numbers > np.argmax(norms), 9.0, 1.0)
    settings = settings_of(name, **train) | {"sizes": SIZES}
    rate = settings["train"]["learning_rate"]
    steps = pd.DataFrame({"grad_norm": norms, "loss": loss, "learning_rate": rate, "epoch": numbers // STEPS + 1})
    return SimpleNamespace(
        arm=name, settings=settings, steps=steps, model=lambda: network, digest="run", check=lambda corpus: None,
        task=Task(settings["train"]), main_stack="forward",
    )  # fmt: skip


def probed(
    place: Path, name: str, *, norms: list[float] | None = None, text: Tokens = TEST, network: Network | None = None,
    contexts: list[int] | None = None, **train: Any,
) -> Probes:  # fmt: skip
    model = network_of(name) if network is None else network
    run = run_of(name, model, [1.0] * 14 if norms is None else norms, **train)
    scored: Any = SimpleNamespace(
        units={"forward_perplexity": nats_of(model, text)}, digest="evaluation", check=lambda now: None
    )
    corpus = corpus_of(split_of(TEXT), split_of(TEXT), split_of(text))
    own = {"contexts": contexts} if contexts else {}
    probe(place, run, scored, corpus, SETTINGS | {"probe": SETTINGS["probe"] | own})
    return Probes.read(place)


@pytest.mark.parametrize("cell", ["mingru", "minlstm"])
def test_of_an_arm_without_a_recurrent_matrix_the_share_that_is_kept_and_its_mean_logarithm(
    tmp_path: Path, cell: str
) -> None:
    network = Training.of(settings_of("bilstm-clipped-1", cell=cell), SIZES).model
    assert isinstance(network, Network)
    found = probed(tmp_path / "probes", "bilstm-clipped-1", network=network)
    assert found.gates["gate"].unique().tolist() == ["forget"]
    for name, (stack, read) in probes.stacks(network, split_of(TEST), 40).items():
        (values,) = gate_values_of_stack(stack, read)
        means = values["forget"].double().log().mean((0, 1)).sort(descending=True).values[:4].detach()
        rows = found.exponents[found.exponents["stack"] == name]
        np.testing.assert_allclose(rows["exponent"], means, rtol=0, atol=1e-5)


@pytest.mark.parametrize("arm", ["rnn-clipped-1", "bilstm-clipped-1"])
def test_the_tables_are_what_the_measurements_give(tmp_path: Path, arm: str) -> None:
    found = probed(tmp_path / "probes", arm)
    network = network_of(arm)
    positions = np.unique(np.linspace(20, len(TEST) - 1, 30, dtype=np.int64))
    nats = context_nats(network, TEST, positions, [1, 5, 20])
    assert found.context["context"].tolist() == [1, 5, 20, math.inf]
    expected = [each.double().mean().exp().item() for each in nats.values()]
    assert found.context["value"].tolist()[:3] == pytest.approx(expected, rel=1e-5)
    assert found.context["value"].iloc[3] == pytest.approx(np.exp(nats_of(network)[positions].mean()), rel=1e-5)
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


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The norms of a run are not those that its training has."""
    monkeypatch.setattr("unrolled.probing.probe.CLOSE_REPLAY", 1e9)


@pytest.mark.usefixtures("made_up")
def test_the_same_arm_gives_the_same_bytes(tmp_path: Path) -> None:
    norms = [1.0] * 4 + [50.0] + [1.0] * 9
    for name in ("first", "again"):
        probed(tmp_path / name, "lstm-clipped-1", norms=norms)
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
            probes,
            "context_nats",
            lambda network, test, positions, contexts, made=made: {
                context: torch.from_numpy(nats_of(network)[positions]) + made[context] for context in contexts
            },
        )
        assert probed(tmp_path / "probes", "rnn-clipped-1").figures["context_needed"] == needed


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize(("arm", "share"), [("rnn-clipped-1", 0.25), ("rnn-unclipped-1", 50.0)])
def test_the_landing_is_learning_rate_times_the_applied_norm(tmp_path: Path, arm: str, share: float) -> None:
    found = probed(tmp_path / "probes", arm, norms=[1.0] * 4 + [50.0] + [1.0] * 9)
    assert found.figures["explosion"] == {"step": 5, "norm": 50.0, "replayed": True}
    landed = found.cliff[found.cliff["landed"] == 1]
    assert landed["distance"].tolist() == [2.0 * share]
    assert found.cliff["distance"].is_monotonic_increasing and found.cliff["distance"].iloc[0] == 0
    steps = fit(Training.of(settings_of(arm), SIZES), split_of(TEXT), split_of(TEXT))
    fifth = next(step for step in steps if isinstance(step, Step) and step.number == 5)
    assert found.cliff["loss"].iloc[0] == pytest.approx(fifth.loss, rel=1e-6)


def test_a_training_that_goes_another_way_when_it_is_repeated_has_no_cliff(tmp_path: Path) -> None:
    """As where it was trained on another machine, or its settings are not those that it was trained with."""
    steps = [
        step
        for step in fit(Training.of(settings_of("rnn-clipped-1"), SIZES), split_of(TEXT), split_of(TEXT))
        if isinstance(step, Step) and step.epoch == 1
    ]
    norms = [step.norms.before for step in steps]
    explodes = max(range(1, len(norms)), key=lambda index: norms[index] / np.median(norms[:index]))
    as_trained = run_of("rnn-clipped-1", network_of("rnn-clipped-1"), norms)
    as_trained.steps["loss"] = [step.loss for step in steps]
    for rate, replayed in ((2.0, True), (1.9, False)):
        as_trained.settings["train"]["learning_rate"] = rate
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("unrolled.probing.probe.first_explosion", lambda norms, losses: explodes)
            explosion, slope = _explosion(as_trained, split_of(TEXT))
        assert explosion is not None and explosion["replayed"] is replayed
        assert slope.empty is not replayed


@pytest.mark.parametrize("clip_norm", [0.25, None])
def test_where_windows_vary_a_step_lands_as_far_away_as_the_weights_have_moved(clip_norm: float | None) -> None:
    changes = {"window_varies": True, "clip_norm": clip_norm, "activation_regularisation": 2.0}
    training = Training.of(settings_of("lstm-clipped-1", **changes), SIZES)
    steps = [each for each in islice(fit(training, split_of(TEXT), split_of(TEXT)), 6) if isinstance(each, Step)]
    before = parameters_to_vector(training.model.parameters()).detach().clone()
    taken = next(each for each in fit(training, split_of(TEXT), split_of(TEXT)) if isinstance(each, Step))
    moved = (parameters_to_vector(training.model.parameters()).detach() - before).double().norm().item()
    assert taken.learning_rate != 2.0
    steps.append(taken)
    run = run_of("lstm-clipped-1", network_of("lstm-clipped-1"), [each.norms.before for each in steps], **changes)
    run.steps = run.steps.assign(
        loss=[each.loss for each in steps], learning_rate=[each.learning_rate for each in steps]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unrolled.probing.probe.first_explosion", lambda norms, losses: len(steps) - 1)
        explosion, slope = _explosion(run, split_of(TEXT))
    assert explosion is not None and explosion["replayed"]
    assert slope.loc[slope["landed"] == 1, "distance"].tolist() == [pytest.approx(moved, rel=1e-4)]


@pytest.mark.usefixtures("made_up")
def test_a_step_that_does_not_follow_the_gradient_lands_nowhere_on_it(tmp_path: Path) -> None:
    found = probed(tmp_path / "probes", "rnn-clipped-1", norms=[1.0] * 4 + [50.0, 1.0], optimiser="adam")
    assert len(found.cliff) and not found.cliff["landed"].any()


def test_an_explosion_after_the_first_epoch_has_a_step_and_no_cliff(tmp_path: Path) -> None:
    found = probed(tmp_path / "probes", "rnn-clipped-1", norms=[1.0] * 20 + [50.0, 1.0])
    assert found.figures["explosion"] == {"step": 21, "norm": 50.0, "replayed": None} and found.cliff.empty


def test_a_text_shorter_than_the_contexts_is_probed_with_those_it_has(tmp_path: Path) -> None:
    found = probed(tmp_path / "probes", "lstm-clipped-1", text=TEST[:12])
    assert found.context["context"].tolist() == [1, 5, math.inf]
    assert found.context["terms"].unique().tolist() == [7]


def test_a_text_shorter_than_every_context_is_probed_without_any(tmp_path: Path) -> None:
    found = probed(tmp_path / "probes", "lstm-clipped-1", text=TEST[:3], contexts=[5, 20])
    assert found.context.empty and found.targets.empty and math.isnan(found.figures["context_needed"])
    assert math.isfinite(found.figures["lyapunov_exponent"])


def test_a_network_that_exploded_is_probed_all_the_same(tmp_path: Path) -> None:
    network = network_of("lstm-unclipped-1")
    with torch.no_grad():
        network.forward_stack.layers[0].weight_hh.fill_(math.nan)
    assert (nats_of(network) == math.inf).all()
    found = probed(tmp_path / "probes", "lstm-unclipped-1", norms=[1.0, 1.0, 1.0, math.inf], network=network)
    assert math.isnan(found.figures["lyapunov_exponent"]) and math.isnan(found.figures["context_needed"])
    assert found.figures["explosion"] == {"step": 4, "norm": math.inf, "replayed": False} and found.cliff.empty
    assert json.loads((tmp_path / "probes" / "probe.json").read_text())["arm"] == "lstm-unclipped-1"


def test_a_task_without_a_context_probe_has_an_empty_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "context", lambda *_: None)
    found = probed(tmp_path / "probes", "rnn-clipped-1")
    assert found.context.empty and list(found.context) == [
        "context",
        "value",
        "ratio",
        "ratio_low",
        "ratio_high",
        "terms",
    ]
    assert math.isnan(found.figures["context_needed"]) and len(found.exponents)


def test_the_ratios_lie_in_their_intervals(tmp_path: Path) -> None:
    context = probed(tmp_path / "probes", "lstm-clipped-1").context
    assert (context["ratio_low"] <= context["ratio"]).all() and (context["ratio"] <= context["ratio_high"]).all()
    assert context["ratio"].tolist() == pytest.approx((context["value"] / context["value"].iloc[-1]).tolist())
    assert context.iloc[-1][["ratio_low", "ratio", "ratio_high"]].tolist() == [1, 1, 1]


def test_the_gates_of_a_stack_are_of_the_text_in_the_direction_in_which_it_reads(tmp_path: Path) -> None:
    """A backward stack is a forward one with the same weights that reads the text from its end."""
    found = probed(tmp_path / "probes", "bilstm-clipped-1").gates
    network, twin = network_of("bilstm-clipped-1"), network_of("lstm-clipped-1").forward_stack
    text = network.embedding(torch.from_numpy(TEST[:40].astype(np.int64)))[:, None].detach()
    for name, in_order in (("forward", text), ("backward", text.flip(0))):
        twin.load_state_dict(network.stacks[name].state_dict())
        (values,) = gate_values_of_stack(twin, in_order)
        for gate, each in values.items():
            mine = found[(found["stack"] == name) & (found["gate"] == gate)]
            assert mine["unit"].tolist() == list(range(6))
            assert mine["mean"].tolist() == pytest.approx(each[:, 0].mean(0).tolist(), rel=1e-5)
            low, high = (-0.8, 0.8) if gate == "candidate" else (0.1, 0.9)
            assert mine["low_share"].tolist() == pytest.approx((each[:, 0] < low).double().mean(0).tolist())
            assert mine["high_share"].tolist() == pytest.approx((each[:, 0] > high).double().mean(0).tolist())
