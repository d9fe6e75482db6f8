"""The bytes of a run, its scores and its probes do not depend on how many threads torch uses."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from miniature import corpus_of, made_of, section_of, split_of, whole_arm
from unrolled.ground.evaluation import Evaluation
from unrolled.ground.run import Run
from unrolled.probing.exponents import lyapunov_exponents
from unrolled.probing.gates import gate_values
from unrolled.probing.probe import probe
from unrolled.recurrence.layer import RecurrentLayer
from unrolled.recurrence.softmax_loss import softmax_nats
from unrolled.recurrence.spectra import spectra
from unrolled.recurrence.stack import Stack
from unrolled.recurrence.threads import one_thread
from unrolled.scoring.evaluation import write_evaluation
from unrolled.tasks.language_model.evaluation.dynamic_evaluation import Dynamics, adapted, dynamic_nats
from unrolled.tasks.language_model.evaluation.evaluate import evaluate, kneser_ney
from unrolled.tasks.language_model.evaluation.scores import SCORES
from unrolled.tasks.language_model.model.network import Network
from unrolled.training.fit import fit, steps
from unrolled.training.history import History
from unrolled.training.run_directory import write_run
from unrolled.training.training import Training

V, COUNTS = 1000, (1, 2, 3)
TOKENS = np.minimum(np.random.default_rng(0).zipf(1.3, 6000), V - 1).astype(np.uint16)
TRAIN, VALID, TEST = TOKENS[:5000], TOKENS[5000:5400], TOKENS[5400:]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Puts torch's threads back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def exponents() -> list[torch.Tensor]:
    stack = Stack("forward", "lstm", inputs=64, hidden=64, layers=1)
    return [lyapunov_exponents(stack, torch.randn(5, 1, 64), stack.initial_state(1), count=64, settle=0)]


def gates() -> list[torch.Tensor]:
    layer = RecurrentLayer("lstm", 8, 101)
    return list(gate_values(layer, torch.randn(997, 1, 8), layer.initial_state(1)).values())


def of_the_weights() -> list[torch.Tensor]:
    """Drawn in either way: an orthogonal matrix comes of a decomposition too."""
    layers = [RecurrentLayer("lstm", 8, 200, initialisation=how) for how in ("uniform", "orthogonal")]
    return [torch.tensor(each, dtype=torch.float64) for layer in layers for each in spectra(layer).values()]


def passed_on() -> list[torch.Tensor]:
    """By a highway, whose gate is a sigmoid."""
    stack = Stack("forward", "rnn", inputs=101, hidden=101, layers=2, connection="highway")
    return [stack(torch.randn(997, 1, 101), stack.initial_state(1))[0]]


def minimal() -> list[torch.Tensor]:
    """Of cells whose gates are computed for all time steps at once."""
    found = []
    for cell in ("mingru", "minlstm"):
        layer = RecurrentLayer(cell, 101, 101)
        outputs, _ = layer(torch.randn(997, 1, 101), layer.initial_state(1))
        found += [outputs, *torch.autograd.grad(outputs.sum(), [layer.weight_ih])]
    return found


def losses() -> list[torch.Tensor]:
    """In double precision, as single precision rounds most of the difference away."""
    parts = (torch.randn(shape, dtype=torch.float64) for shape in ((100_003, 4), (5, 4), (5,)))
    return [softmax_nats(*parts, torch.zeros(100_003, dtype=torch.int64))]


def parted() -> list[torch.Tensor]:
    """A step over an adaptive softmax, whose clusters have rows in ragged numbers."""
    sizes = {"softmax": "adaptive", "cutoffs": [100, 397], "tied": False, "hidden": 101, "embedding": 7}
    training = Training.of(whole_arm("lstm-clipped-1", columns=33, **sizes), {"vocabulary": V})
    next(steps(training, split_of(TRAIN)))
    return [each.grad.to_dense() for each in training.model.parameters() if each.grad is not None]


def dynamic() -> list[torch.Tensor]:
    """In double precision: the mean over all weights, which is a number, shows in single precision now and then."""
    network = Network(V, cell="lstm", bidirectional=False, embedding=256, hidden=256, layers=1, tied=True).double()
    squares = [torch.rand_like(each) for each in adapted(network)]
    return [torch.from_numpy(dynamic_nats(network, TEST[:60], Dynamics(20, 100.0, 0.5), squares=squares))]


def finished() -> list[torch.Tensor]:
    """A step of training whose inputs the network draws itself."""
    arm = whole_arm("lstm-clipped-1", reset="sentence", feeding="own", dropout=0.2, columns=40)
    training = Training.of(arm, {"vocabulary": V})
    for parameter in training.model.parameters():
        torch.nn.init.uniform_(parameter, -0.5, 0.5, generator=training.generator)
    next(steps(training, split_of(TRAIN)))
    return [each.grad.to_dense() for each in training.model.parameters() if each.grad is not None]


def updated() -> list[torch.Tensor]:
    """By each optimiser that has a pass of its own over the numbers, whose ends no register may fill."""
    found: list[torch.Tensor] = []
    for optimiser in ("sgd", "adam", "adamw"):
        training = Training.of(whole_arm("lstm-clipped-1", optimiser=optimiser, weight_decay=0.01), {"vocabulary": V})
        for _ in range(3):
            for each in training.model.parameters():
                each.grad = torch.randn_like(each)
            training.optimiser.step()
        found += training.model.parameters()
    return found


@pytest.mark.parametrize(
    "measured", [exponents, gates, of_the_weights, passed_on, minimal, losses, parted, dynamic, finished, updated]
)
def test_what_is_measured_has_the_same_bytes_with_any_number_of_threads(
    measured: Callable[[], list[torch.Tensor]],
) -> None:
    found = []
    for count in COUNTS:
        torch.set_num_threads(count)
        torch.manual_seed(1)
        found.append([each.detach().numpy().tobytes() for each in measured()])
        assert torch.get_num_threads() == count
    assert found[1] == found[0] and found[2] == found[0]


def test_one_thread_ends_with_the_block_an_error_too() -> None:
    torch.set_num_threads(3)
    with pytest.raises(ValueError, match="inside"), one_thread():
        assert torch.get_num_threads() == 1
        raise ValueError("inside")
    assert torch.get_num_threads() == 3


def test_an_arm_leaves_the_same_files_with_one_thread_and_with_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained, scored with a cache and dynamically, and probed, in params.yaml's sizes but for the text."""
    arm = whole_arm("bilstm-unclipped-1", epochs=1)
    scoring = section_of("evaluate", bootstrap_samples=20, cache_windows=[300], dynamic_rates=[1e-4])
    probing = section_of("probe", contexts=[1, 20], positions=300, lyapunov_steps=40)
    corpus = corpus_of(split_of(TRAIN), split_of(VALID), split_of(TEST), V)
    for count in (1, 2):
        torch.set_num_threads(count)
        place = tmp_path / str(count)
        history = History(training := Training.of(arm, {"vocabulary": V}))
        for record in fit(training, corpus.train, corpus.valid):
            history.add(record)
        write_run(place / "runs", training, history, arm, {"vocabulary": V}, corpus.digest)
        run = Run.read(place / "runs")
        write_evaluation(place / "peer", "kneser_ney", kneser_ney(corpus, scoring), SCORES, made_of(scoring))
        peer = {"kneser_ney": Evaluation.read(place / "peer")}
        scored = evaluate(run.model(), corpus, scoring, peer)
        write_evaluation(place / "evaluation", "arm", scored, SCORES, made_of(scoring, run=run, **peer))
        run.steps.loc[3, "grad_norm"] = 100.0  # as if it exploded there, so that the cliff is measured ...
        run.steps.loc[4:, "loss"] = 100.0  # ... and the loss leapt behind it
        monkeypatch.setattr("unrolled.probing.probe.CLOSE_REPLAY", 1e9)
        evaluation = Evaluation.read(place / "evaluation")
        probe(place / "probes", run, evaluation, corpus, {"probe": probing, "evaluate": scoring})
        assert len(pd.read_csv(place / "probes" / "cliff.csv")) > 0
    first = sorted(path.relative_to(tmp_path / "1") for path in (tmp_path / "1").rglob("*.*"))
    assert len(first) == 10 + 6 + 6 + 7
    for path in first:
        assert (tmp_path / "2" / path).read_bytes() == (tmp_path / "1" / path).read_bytes(), path
