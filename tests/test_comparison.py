import base64
import copy
import csv
import itertools
import json
import math
import re
import shutil
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from urllib.request import urlopen

import numpy as np
import pandas as pd
import pytest
import torch
import vl_convert
from click.testing import CliRunner, Result
from ruamel.yaml import YAML
from stages.compare import main as stage

from miniature import ROOT, made_of
from unrolled.ground.checksums import seal
from unrolled.ground.corpus import corpus_digest
from unrolled.ground.evaluation import Evaluation
from unrolled.ground.perplexity import perplexity
from unrolled.ground.resolved import read_arm, read_resolved, write_resolved
from unrolled.ground.run import Run
from unrolled.ground.score import Score, Sums
from unrolled.probing.targets import NO_ARRIVAL
from unrolled.recurrence.profile import Addends
from unrolled.recurrence.spectra import Spectrum
from unrolled.report import arms as reading
from unrolled.report import chart, drawing, tables
from unrolled.report import comparison as comparing
from unrolled.report.arms import Arm, read_baselines
from unrolled.report.chart import SIZES, Chart
from unrolled.report.colours import HUES, run_colour
from unrolled.report.comparison import Comparison, compare
from unrolled.report.drawing import lines
from unrolled.report.figures import Figures
from unrolled.report.markdown import number
from unrolled.report.page import FIGURES
from unrolled.report.page import write as write_page
from unrolled.report.panel import Key, Panel
from unrolled.report.phenomena_figures import PhenomenaFigures
from unrolled.report.sections import sections
from unrolled.report.wording import Wording
from unrolled.scoring.evaluation import Scored, write_evaluation
from unrolled.settings.loader import PARAMS
from unrolled.settings.resolve import resolve
from unrolled.shell.errors import UserError
from unrolled.tasks.language_model.evaluation.scores import SCORES
from unrolled.tasks.language_model.report import WAYS, samples
from unrolled.tasks.language_model.text.inference import Trained
from unrolled.training.clipping import Norms
from unrolled.training.diagnostics import Epoch
from unrolled.training.fit import Step
from unrolled.training.history import History
from unrolled.training.run_directory import write_run
from unrolled.training.training import Training

CONFIGURATIONS = [
    "rnn-clipped",
    "rnn-unclipped",
    "lstm-clipped",
    "lstm-unclipped",
    "bilstm-clipped",
    "bilstm-unclipped",
]
ARMS = [f"{name}-1" for name in CONFIGURATIONS]
TOKENS = 400
INTERVALS = {"half_life": [6.0, 7.0], "gradient_reach": [10.0, 15.0], "context_needed": [10.0, math.inf]}
MEASURED = {"half_life": 6.5, "gradient_reach": 12.0, "context_needed": 10.0, "intervals": INTERVALS}
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
STREAM = np.random.default_rng(0).exponential(4, TOKENS).astype(np.float32)
MAIN = SCORES[0].name
WRITE = Chart.write
HEADS = [score.name for score in SCORES if score.column == "main"]


@dataclass(frozen=True)
class Made:
    """What a made-up arm's training and scoring found; steps are dealt evenly to two epochs."""

    handicap: float = 0.0  # nats a token above STREAM
    norms: Sequence[float] = (0.1, 0.2, 0.3, 0.4)
    decay: float = 0.5  # of the lag profile, a step
    alignment: float = 0.5  # of the recurrent weights' addends
    addend: float = 0.1  # norm of each of five
    valid: Sequence[float] = (5.0, 4.0)  # nats a token, an epoch
    diverged: int | None = None  # the epoch that did not end
    digest: str = corpus_digest({})
    gates: Sequence[str] = ("input", "forget", "candidate", "output")
    matrix: bool = True  # a recurrent one
    cliff: Sequence[float] = (0.0, 0.1, 1.0, 100.0)  # distances at which a loss was measured


@dataclass(frozen=True)
class Grid:
    """The working directory's grid, and how its made-up arms are scored."""

    scores: Sequence[Score] = SCORES
    baselines: Mapping[str, float] = field(default_factory=lambda: {"kneser_ney": 0.5})  # handicaps

    @property
    def entries(self) -> list[dict[str, str]]:
        entries: list[dict[str, str]] = read_resolved("grid")["arms"]
        return entries

    def only(self, *archs: str) -> "Grid":
        """A smaller grid, in params.yaml too: fewer arms to make and read, fewer figures to draw."""
        params = json.loads(PARAMS.read_text())
        params["arch"] = {name: row for name, row in params["arch"].items() if name in archs}
        return self.of(params)

    def of(self, params: dict[str, Any]) -> "Grid":
        PARAMS.write_text(text := json.dumps(params), encoding="utf-8")  # which is YAML too
        shutil.rmtree("resolved", ignore_errors=True)
        for path, content in resolved_of(text).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return self


@cache
def resolved_of(text: str) -> dict[Path, bytes]:
    """The files that `resolve` makes of a params.yaml, made once for all tests."""
    with TemporaryDirectory() as place, chdir(place):
        PARAMS.write_text(text, encoding="utf-8")
        resolve()
        return {path: path.read_bytes() for path in Path("resolved").rglob("*") if path.is_file()}


@cache
def whole_params(path: Path) -> dict[str, Any]:
    params: dict[str, Any] = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    return params


def make(name: str, made: Made, scores: Sequence[Score] = SCORES) -> None:
    """Write runs/<arm>, evaluation/<arm> and probes/<arm> in the working directory."""
    arm, main = read_arm(name), scores[0].name
    heads = HEADS if arm["network"]["bidirectional"] else HEADS[:1]
    training = Training.of(arm | {"task": "language_model"}, {"vocabulary": 5})
    arm, stacks = arm | {"task": read_resolved("grid")["task"]}, list(training.model.stacks)
    layers, history = [f"{stack}.0" for stack in stacks], History(training)
    lags = made.decay ** torch.arange(30.0, dtype=torch.float64)
    each = torch.full((5,), made.addend, dtype=torch.float64)
    each = each if made.matrix else each[:0]
    addends = dict.fromkeys(layers, Addends(torch.ones(5), each, torch.tensor(5.0), made.alignment * each.sum()))
    spectra = {layer: {"hidden": Spectrum(0.9, 1.2)} if made.matrix else {} for layer in layers}
    valid = [Sums(200.0, 100), *(Sums(100 * mean, 100) for mean in made.valid)]
    epochs = [
        Epoch(number, 1.0, {score: sums for score in ("loss", *heads)} if main == MAIN else {"loss": sums, main: sums},
              dict.fromkeys(layers, torch.arange(1.0, 6.0)) if number else {}, dict.fromkeys(layers, torch.ones(30))
              if not number else dict.fromkeys(layers, lags), addends, spectra)
        for number, sums in enumerate(valid)
    ]  # fmt: skip
    history.add(epochs[0])
    for epoch in (1, 2):
        for norm in made.norms[(epoch - 1) * len(made.norms) // 2 : epoch * len(made.norms) // 2]:
            after = min(norm, arm["train"]["clip_norm"] or math.inf)
            history.add(Step(training.step + 1, epoch, 70, 4.0, 1.0, Norms(norm, after, {"embedding": norm})))
            training.step += math.isfinite(norm)
        if made.diverged == epoch:
            break
        history.add(epochs[epoch])
    write_run(Path("runs") / name, training, history, arm, {"vocabulary": 5}, made.digest)
    run, baselines = Run.read(Path("runs") / name), read_baselines(arm["task"])
    stated = made_of(read_resolved("evaluate")["evaluate"], made.digest, run, **baselines)
    handicaps = {head: made.handicap for head in heads} if main == MAIN else {main: 0.0}
    evaluated(Path("evaluation") / name, handicaps, scores, stated)
    probed(name, stacks, made, run)


def probed(arm: str, stacks: Sequence[str], made: Made, run: Run) -> None:
    folder = Path("probes") / arm
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    mean = perplexity(float((STREAM + made.handicap).sum(dtype=float)), TOKENS)
    context = {"context": [1.0, 10.0, math.inf], "value": [2 * mean, 1.01 * mean, mean], "ratio": [2, 1.01, 1]}
    pd.DataFrame(context | {"ratio_low": 0.9, "ratio_high": 2.1, "terms": 100}).to_csv(
        folder / "context.csv", index=False
    )
    exponents = [(name, index, 0.1 - index) for name in stacks for index in (1, 2)]
    pd.DataFrame(exponents, columns=["stack", "index", "exponent"]).to_csv(folder / "exponents.csv", index=False)
    gates = [
        (name, 0, gate, unit, 0.8, 0.1, 0.3)
        for name in stacks for gate in made.gates for unit in range(3)
    ]  # fmt: skip
    columns = ["stack", "layer", "gate", "unit", "mean", "low_share", "high_share"]
    pd.DataFrame(gates, columns=columns).to_csv(folder / "gates.csv", index=False)
    lags = {
        "stack": "forward",
        "layer": 0,
        "distance": range(3),
        "norm": [1.0, 0.5, 0.1],
        "cell_norm": [math.nan, 0.9, 0.8],
    }
    pd.DataFrame(lags).to_csv(folder / "targets.csv", index=False)
    NO_ARRIVAL.to_csv(folder / "arrival.csv", index=False)
    cliff = {"distance": made.cliff, "loss": [5.0 + distance**2 for distance in made.cliff]}
    cliff |= {"landed": [float(distance == 1.0) for distance in made.cliff]}
    pd.DataFrame(cliff, dtype=float).to_csv(folder / "cliff.csv", index=False)
    explosion = {"step": 4, "norm": 100.0, "replayed": True} if made.cliff else None
    evaluation = Evaluation.read(Path("evaluation") / arm)
    stated = {"corpus": made.digest, "run": run.digest, "evaluation": evaluation.digest}
    stated["settings"] = read_resolved("probe")["probe"]
    figures = {"arm": arm, "made_of": stated, **MEASURED, "lyapunov_exponent": -0.9, "explosion": explosion}
    seal(folder / "probe.json", figures)


def evaluated(
    folder: Path, handicaps: Mapping[str, float], scores: Sequence[Score] = SCORES, stated: dict[str, Any] | None = None
) -> None:
    """``handicaps``: what stands above STREAM in each term of a score."""
    units = {name: STREAM + np.float32(handicap) for name, handicap in handicaps.items()}
    measures = {"unigram_perplexity": 300.0, "uniform_perplexity": 5000.0, "top1_accuracy": 0.25}
    measures |= {"unigram_spelled_bits_per_character": 2.5, "uniform_spelled_bits_per_character": 3.5}
    measures |= {"vocabulary_size": 5000.0, "unknown_share": 0.0345, "spelled_bits_per_character": 1.5}
    if folder.parent.name == "evaluation" and scores is SCORES:
        units |= {"reset_perplexity": np.full(TOKENS, math.log(110.0)), "interpolated_perplexity": STREAM}
        measures["interpolation_weight"] = 0.3
    scored = Scored(units, np.zeros(TOKENS, dtype=np.int64), {}, measures if scores is SCORES else {})
    stated = stated or made_of(read_resolved("evaluate")["evaluate"], Made().digest)
    write_evaluation(folder, folder.name, scored, scores, stated)


@pytest.fixture(autouse=True)
def sketched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every figure is made in every test, but drawn in those that ask for it: drawing takes longer than the rest."""
    monkeypatch.setattr(Chart, "write", sketch)


def sketch(_: Chart, path: Path, suffixes: Collection[str]) -> None:
    """The files of a figure, each with its name alone."""
    for suffix in suffixes:
        path.with_suffix(suffix).write_text(f'<svg xmlns="http://www.w3.org/2000/svg"><title>{path.name}</title></svg>')


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, sketched: None) -> Callable[..., None]:
    """Figures of these names, or all, are drawn from here on; without the png, which takes as long as all else, unless
    the `png` is wanted, which then is a small one."""

    def asked(*names: str, png: bool = False) -> None:
        def chosen(made: Chart, path: Path, suffixes: Collection[str]) -> None:
            (sketch if names and path.name not in names else WRITE)(made, path, suffixes)

        monkeypatch.setattr(Chart, "write", chosen)
        if png:
            monkeypatch.setattr(chart, "SHARP", 0.4)
        else:
            monkeypatch.setattr(vl_convert, "svg_to_png", lambda svg, **options: b"")

    return asked


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Grid]:
    """Six arms in a folder of their own, with a params.yaml that holds them."""
    params = copy.deepcopy(whole_params(PARAMS.resolve()))
    params["network"] |= {"embedding": 4, "hidden": 4}
    params["evaluate"] |= {"bootstrap_samples": 100, "bootstrap_block": 20}
    params["arch"] = {"rnn": {"cell": "rnn"}, "lstm": {"cell": "lstm"}, "bilstm": {"bidirectional": True}}
    params["clipping"] = {"clipped": {"clip_norm": 0.25}, "unclipped": {"clip_norm": None}}
    monkeypatch.chdir(tmp_path)
    Path("data/text").mkdir(parents=True)
    Path("data/text/test.txt").write_text("So it\nwent on and on <and> on\n")
    Path("data/encoded").mkdir()
    seal(Path("data/text/documents.json"), {})
    seal(Path("data/encoded/manifest.json"), {"settings": {}})
    sizes = {split: {"tokens": 1000} for split in ("train", "valid", "test")}
    known = {"digest": Made().digest, "settings": {}, "corpus": "a <made> one", "types": 5, "unit": "word"}
    Path("data/corpus.json").write_text(json.dumps(known | sizes))
    yield Grid().of(params)


def made_and_read(grid: Grid, arms: Sequence[str] = (), **special: Made) -> Comparison:
    """Compare the grid's arms, or some of them; `special` by configuration, or arm, with _ for -."""
    names = arms or [entry["arm"] for entry in grid.entries]
    for baseline, handicap in grid.baselines.items():
        evaluated(Path("baselines") / baseline, {grid.scores[0].name: handicap}, grid.scores)
    for arm in names:
        name = arm.replace("-", "_")
        make(arm, special.get(name) or special.get(name.rpartition("_")[0], Made()), grid.scores)
    resolved, evaluate = read_resolved("grid"), read_resolved("evaluate")["evaluate"]
    arms, baselines = [Arm.read(arm) for arm in names], read_baselines(resolved["task"])
    return compare(resolved, evaluate, Made().digest, arms, baselines)


def run_stage() -> Result:
    return CliRunner().invoke(stage, [], catch_exceptions=False)


# ---- numbers


@pytest.mark.parametrize(("reset", "lost"), [("never", True), ("sentence", False)])
def test_an_arm_is_judged_by_how_it_was_trained_to_read(grid: Grid, reset: str, lost: bool) -> None:
    """Carried on it is worse than chance; started anew at each sentence it is at 110."""
    params = json.loads(PARAMS.read_text())
    params["arch"] = {"rnn": {"cell": "rnn", "reset": reset}}
    (each, _) = made_and_read(grid.of(params), rnn_clipped=Made(handicap=6.0)).configurations
    assert each.rows[0]["forward_perplexity"] > 5000 and each.rows[0]["lost"] == lost
    assert bool(each.alive) == (not lost) and ("never came back" in each.rows[0]["outcome"]) == lost


def test_no_pair_is_shown_where_each_arm_is_left_out(grid: Grid) -> None:
    lost, fine = Made(handicap=12.0), Made()
    for made, shown in ((lost, False), (fine, True)):
        said = tables.markdown(made_and_read(grid.only("rnn"), rnn_clipped=made, rnn_unclipped=made))
        assert ("| difference |" in said) is shown
        assert ("Left out, as no better than a model that learns nothing" in said) is not shown


def test_a_row_says_what_the_files_say(grid: Grid) -> None:
    arm = Made(handicap=1.0, norms=(0.1, 0.3, 0.5, 100.0), decay=0.9, alignment=0.75, valid=(4.0, 4.5))
    row = {row["arm"]: row for row in made_and_read(grid.only("lstm"), lstm_clipped=arm).rows}["lstm-clipped-1"]
    assert row["forward_perplexity"] == pytest.approx(math.exp(STREAM.astype(float).mean() + 1), rel=1e-6)
    assert row["forward_perplexity"] == math.exp(row["forward_perplexity_sum"] / row["forward_perplexity_terms"])
    assert row["forward_perplexity_low"] < row["forward_perplexity"] < row["forward_perplexity_high"]
    assert row["forward_perplexity_valid"] == pytest.approx(math.exp(4)) and row["best_epoch"] == 1
    assert [row["grad_norm_median"], row["grad_norm_max"]] == pytest.approx([0.4, 100])
    assert [row["clipped_share"], row["nonfinite_share"], row["clip_norm"]] == [0.75, 0, 0.25]
    assert row["reduction"] == "mean over all terms of a batch"
    assert (row["half_life"], row["half_life_low"], row["half_life_high"]) == (6.5, 6.0, 7.0)
    assert row["addend_alignment"] == pytest.approx(0.75)
    assert (row["status"], row["diverged_at_step"]) == ("finished", None)
    assert (row["top1_accuracy"], row["interpolation_weight"]) == (0.25, 0.3) and "unigram_perplexity" not in row


def test_only_a_bidirectional_arm_has_a_pseudo_perplexity(grid: Grid) -> None:
    for row in made_and_read(grid.only("lstm", "bilstm")).rows:
        bidirectional = row["arch"] == "bilstm"
        assert (row["pseudo_perplexity"] is not None) == (row["backward_perplexity"] is not None) == bidirectional


def test_pairs_are_twins_and_each_arch_beside_the_first_and_the_one_before(grid: Grid) -> None:
    pairs = made_and_read(grid, rnn_clipped=Made(handicap=0.75), lstm_unclipped=Made(handicap=2.0)).pairs
    found = {(pair["arm"], pair["minus"]): pair for pair in pairs}
    assert {names: pytest.approx(pair["difference"], abs=1e-6) for names, pair in found.items()} == {
        ("rnn-clipped", "rnn-unclipped"): 0.75,
        ("lstm-clipped", "lstm-unclipped"): -2.0,
        ("bilstm-clipped", "bilstm-unclipped"): 0.0,
        ("lstm-clipped", "rnn-clipped"): -0.75,
        ("bilstm-clipped", "rnn-clipped"): -0.75,
        ("bilstm-clipped", "lstm-clipped"): 0.0,
        ("lstm-unclipped", "rnn-unclipped"): 2.0,
        ("bilstm-unclipped", "rnn-unclipped"): 0.0,
        ("bilstm-unclipped", "lstm-unclipped"): -2.0,
        **{
            (name, "kneser_ney"): {"rnn-clipped": 0.25, "lstm-unclipped": 1.5}.get(name, -0.5)
            for name in CONFIGURATIONS
        },
    }
    pair = found["lstm-clipped", "rnn-clipped"]
    assert pair["ratio"] == pytest.approx(math.exp(-0.75), rel=1e-6)
    # The same handicap on every token: a difference without doubt, though each perplexity alone has an interval.
    assert [pair["difference_low"], pair["difference_high"]] == pytest.approx([-0.75, -0.75], abs=1e-6)


def test_arms_of_different_corpora_do_not_compare(grid: Grid) -> None:
    with pytest.raises(Exception, match=r"runs/lstm-clipped-1 .* another corpus .*: dvc repro train@lstm-clipped-1"):
        made_and_read(grid.only("lstm"), lstm_clipped=Made(digest="another"))


def test_a_baseline_of_another_corpus_does_not_compare(grid: Grid) -> None:
    comparison = made_and_read(grid.only("rnn"))
    evaluated(Path("baselines/kneser_ney"), {MAIN: 0.0}, stated=made_of(dict(comparison.evaluate), "another"))
    with pytest.raises(UserError, match=r"kneser_ney .* another corpus .*: dvc repro baseline@kneser_ney"):
        compare(
            read_resolved("grid"), comparison.evaluate, Made().digest, comparison.arms, read_baselines("language_model")
        )


@pytest.mark.parametrize(
    ("lost", "pairs"),
    [
        ("rnn-clipped-1", [("lstm-clipped", "lstm-unclipped"), ("lstm-unclipped", "rnn-unclipped")]),
        ("lstm-unclipped-1", [("rnn-clipped", "rnn-unclipped"), ("lstm-clipped", "rnn-clipped")]),
    ],
)
def test_pairs_of_an_arm_that_is_not_there_are_left_out(grid: Grid, lost: str, pairs: list[tuple[str, str]]) -> None:
    comparison = made_and_read(grid.only("rnn", "lstm"), [arm for arm in ARMS[:4] if arm != lost])
    assert [(pair["arm"], pair["minus"]) for pair in comparison.pairs if pair["differ_by"] != "baseline"] == pairs
    assert len(comparison.pairs) == len(pairs) + 3
    # The others are drawn as if it were there.
    assert {(line.arm, line.colour) for line in Figures(comparison).arms} < {
        (line.arm, line.colour) for line in lines(grid.entries, dict.fromkeys(ARMS))
    }


def test_an_explosion_stays_visible_in_few_points(grid: Grid) -> None:
    norms = np.ones(2000)
    norms[777] = 1e17
    tables = made_and_read(grid.only("rnn"), rnn_unclipped=Made(norms=norms.tolist())).tables
    curve = tables["grad_norm"][tables["grad_norm"]["arm"] == "rnn-unclipped-1"]
    assert len(curve) <= 320
    assert (curve["window_max"] == 1e17).sum() == 1
    assert curve[curve["window_max"] == 1e17]["step"].item() >= 778  # steps are counted from 1
    assert curve["step"].iloc[-1] == 2000


def test_profile_distances_count_from_the_step_a_stack_reads_last(grid: Grid) -> None:
    profile = made_and_read(grid.only("bilstm")).tables["profile"]
    one = profile[profile["arm"] == "bilstm-clipped-1"]
    assert one["stack"].tolist() == 5 * ["forward"] + 5 * ["backward"]
    assert one[one["stack"] == "forward"]["distance"].tolist() == [4, 3, 2, 1, 0]
    assert one[one["stack"] == "backward"]["distance"].tolist() == [0, 1, 2, 3, 4]


def test_addends_are_those_of_the_recurrent_weights(grid: Grid) -> None:
    addends = made_and_read(grid.only("lstm", "bilstm"), lstm_clipped=Made(alignment=0.8)).tables["addends"]
    one = addends[addends["arm"] == "bilstm-clipped-1"]
    assert one["stack"].tolist() == 5 * ["forward"] + 5 * ["backward"] and set(one["epoch"]) == {2}
    assert one["time_step"].tolist() == 2 * [0, 1, 2, 3, 4] and set(one["norm"]) == {0.1}
    assert addends[addends["arm"] == "lstm-clipped-1"]["sum_norm"].tolist() == pytest.approx(5 * [0.4])


def test_clipped_share_by_epoch(grid: Grid) -> None:
    shares = made_and_read(grid.only("rnn"), rnn_clipped=Made(norms=(0.1, 0.3, 0.5, 0.6))).tables["clipped_share"]
    assert shares[shares["arm"] == "rnn-clipped-1"]["clipped_share"].tolist() == [0.5, 1.0]
    assert shares[shares["arm"] == "rnn-unclipped-1"]["clipped_share"].tolist() == [0.0, 0.0]


# ---- files


def test_the_stage_writes_the_grid_and_nothing_that_left_it(grid: Grid, drawn: Callable[..., None]) -> None:
    drawn("score")
    made_and_read(grid)
    shutil.copytree("runs/lstm-clipped-1", "runs/gru-clipped-1")
    Path("runs/.gitignore").write_text("/lstm-clipped-1\n")
    result = run_stage()
    assert result.exit_code == 0, result.output
    with open("report/comparison.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["arm"] for row in rows] == [*ARMS, "kneser_ney", "unigram", "uniform"]
    assert [float(row["forward_perplexity"]) for row in rows[-2:]] == [300, 5000]
    assert list(json.loads(Path("report/comparison.json").read_text())["arms"]) == ARMS
    assert list(json.loads(Path("metrics.json").read_text())) == [*CONFIGURATIONS, "kneser_ney", "unigram", "uniform"]
    tables = {path.stem: pd.read_csv(path) for path in Path("report/plots").iterdir()}
    shown = {*FIGURES, "targets"} - {"learning_rates", "depths"}  # this grid sweeps nothing
    assert set(tables) == shown
    assert all(set(table["arm"]) == set(ARMS) for table in tables.values())
    names = sorted([*shown, "overview"])
    assert sorted(path.name for path in Path("report/figures").iterdir()) == [
        f"{name}.{kind}" for name in names for kind in ("json", "png", "svg")
    ]
    assert not list(Path("report").rglob(".*")), "a temporary file was left behind"
    assert sorted(path.name for path in Path("report").iterdir() if path.is_file()) == [
        "comparison.csv", "comparison.json", "comparison.md", "index.html"
    ]  # fmt: skip
    the_page_needs_nothing_else_and_shows_every_arm_and_figure()


def test_several_seeds_stand_together_with_both_spreads(grid: Grid, drawn: Callable[..., None]) -> None:
    """And one that exploded is counted, and left out of what the others reached."""
    drawn("score")
    params = json.loads(PARAMS.read_text()) | {"seeds": [1, 2, 5]}
    grid.of(params).only("rnn")
    exploded = Made(handicap=90.0, norms=(0.1, 0.1, 0.1, 1e9))
    comparison = made_and_read(grid, rnn_clipped_2=Made(handicap=0.5), rnn_unclipped_5=exploded)
    assert run_stage().exit_code == 0
    text = Path("report/comparison.md").read_text()
    assert [row["configuration"] for row in comparison.summaries] == CONFIGURATIONS[:2]
    together, one = comparison.summaries[0], STREAM.astype(float).mean()
    assert together["forward_perplexity"] == pytest.approx(math.exp(one + 0.5 / 3), rel=1e-6)
    assert re.search(r"^\| rnn-clipped \| [\d.,]+ ± [\d.,]+ \[[\d.,]+, [\d.,]+\] \|", text, re.M)
    assert "| rnn-unclipped | 3 | 2 | 67% [9%, 99%] | 3 | 2 | 0 |" in text
    assert "2 of 3 exploded, came back; 1 of 3 exploded, never came back" in text
    assert "a range in brackets is from the lowest of the seeds to the highest" in text  # no interval, as others are
    assert "What has no ± is the mean of these seeds" in text
    assert re.search(r"^\| rnn-clipped minus rnn-unclipped \| [-+][\d.]+ ± [\d.]+ \[", text, re.M)
    content = json.loads(Path("report/comparison.json").read_text())
    assert len(content["arms"]) == 6 and content["configurations"]["rnn-unclipped"]["survived"] == 2
    assert next(pair for pair in content["paired"] if pair["minus"] == "rnn-unclipped")["seeds"] == [1, 2]
    metrics = json.loads(Path("metrics.json").read_text())
    assert metrics["rnn-unclipped"].items() >= {"seeds": 3, "survived": 2, "forward_perplexity_seeds": 0.0}.items()
    with open("report/comparison.csv", encoding="utf-8") as file:
        assert [row["seed"] for row in csv.DictReader(file)][:4] == ["1", "2", "5", "1"]
    legend = Path("report/figures/score.svg").read_text()
    assert legend.count(">rnn-clipped<") == 1 and "rnn-clipped-2" not in legend
    assert "<td>[1, 2, 5]</td>" in Path("report/index.html").read_text()


def test_what_stands_beside_a_score_is_of_the_seeds_that_it_is_of(grid: Grid) -> None:
    params = json.loads(PARAMS.read_text()) | {"seeds": [1, 2, 3]}
    grid.of(params).only("rnn")
    comparison = made_and_read(grid, rnn_unclipped_3=Made(handicap=90.0))
    for row, value in zip(comparison.configurations[1].rows, (1.0, 2.0, 100.0), strict=True):
        row |= dict.fromkeys(("spelled_bits_per_character", "interpolation_weight", "lyapunov_exponent"), value)
    for name in ("spelled_bits_per_character", "interpolation_weight"):
        comparison.rows[0].setdefault(name, 1.0)
    found, text = tables.metrics(comparison)["rnn-unclipped"], tables.markdown(comparison)
    assert found["spelled_bits_per_character"] == 1.5  # the mean of two, as in the table, for the third is lost
    assert re.search(r"^\| rnn-unclipped \|.* \| 1.500 \|", text, re.M)
    assert re.search(r"^\| rnn-unclipped \|.* \| 1.000 \(1.000 to 2.000\) \|$", text, re.M)
    assert found["lyapunov_exponent"] == 2.0  # as in the table, where it is of all


@pytest.mark.parametrize(
    ("made", "came_back"),
    [
        (Made(), True),  # exploded at step 4, in the second of two epochs, which was the better one
        (Made(valid=(4.0, 4.5)), False),  # the weights that are kept are those of before
        (Made(handicap=90.0), False),
        (Made(diverged=2, norms=(1.0, 1.0, 1.0, math.inf)), False),
    ],
)
def test_who_came_back_was_at_its_best_after_the_explosion(grid: Grid, made: Made, came_back: bool) -> None:
    comparison = made_and_read(grid.only("rnn"), rnn_clipped=made)
    (row, _), summary = comparison.rows, comparison.summaries[0]
    assert row["came_back"] == came_back and summary["came_back"] == came_back
    assert (", came back" in row["outcome"]) == came_back


def test_the_stage_writes_the_same_bytes_again(grid: Grid, drawn: Callable[..., None]) -> None:
    drawn(png=True)
    made_and_read(grid.only("bilstm"))
    written = []
    for _ in range(2):
        assert run_stage().exit_code == 0
        written.append({path: path.read_bytes() for path in Path("report").rglob("*") if path.is_file()})
        shutil.rmtree("report")
    assert written[0] == written[1]


def test_markdown_keeps_what_sees_both_sides_apart(grid: Grid) -> None:
    text = tables.markdown(made_and_read(grid))
    heading, _, *rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")][:11]
    assert "both sides; not a language model" in heading[3] and "left to right" in heading[1]
    assert [row[0] for row in rows] == [*CONFIGURATIONS, "*Kneser-Ney n-grams*", "*unigram*", "*uniform*"]
    assert rows[0][3].strip() == "" and rows[4][3].strip() != ""


def test_what_makes_the_figures_of_a_corpus_mislead_stands_before_them(grid: Grid) -> None:
    comparison = made_and_read(grid.only("rnn"))
    text = tables.markdown(comparison, ["of 4 types only", "read in training"])
    assert text == "**Beware**: of 4 types only.\n\n**Beware**: read in training.\n\n" + tables.markdown(comparison)


def test_what_compares_across_vocabularies_stands_beside_each_perplexity(grid: Grid) -> None:
    comparison = made_and_read(grid.only("rnn"))
    text = tables.markdown(comparison)
    heading, _, *rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")][:7]
    assert heading[2:5] == ["vocabulary", "unknown", "bits a character"]
    assert [row[2:5] for row in rows[:3]] == [["5,000", "3.45%", "1.500"]] * 3
    assert [row[2:5] for row in rows[3:]] == [["5,000", "3.45%", each] for each in ("2.500", "3.500")]
    assert "Across vocabularies compare" in text
    metrics = tables.metrics(comparison)
    shared = {"vocabulary_size": 5000, "unknown_share": 0.0345}
    assert metrics["kneser_ney"].items() >= {**shared, "spelled_bits_per_character": 1.5}.items()
    assert metrics["rnn-clipped"].items() >= {**shared, "spelled_bits_per_character": 1.5}.items()
    assert metrics["unigram"] == {"forward_perplexity": 300, **shared, "spelled_bits_per_character": 2.5}


def test_markdown_shows_the_forward_head_scored_in_other_ways(grid: Grid) -> None:
    text = tables.markdown(made_and_read(grid.only("lstm")))
    assert "| arm | state reset at each sentence, 95% interval | interpolated with n-grams, 95% interval | w |" in text
    assert "| lstm-clipped | 110.0 [110.0, 110.0] |" in text and " | 0.300 |" in text
    assert "State reset at each sentence: the hidden state is zero" in text
    assert "neural cache" not in text  # which no arm was given


class Page(HTMLParser):
    """What a browser would fetch, show and say of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.alternatives: list[str] = []
        self.packed: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.sources += [str(given[name]) for name in ("src", "href") if name in given]
        self.alternatives += [str(given.get("alt") or "")] if tag == "img" else []
        self.packed += [str(given["data-packed"])] if "data-packed" in given else []
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag if given.get("type") != "text/plain" else "packed")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() in (tag, "packed")

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["packed"]:
            self.packed.append(data)
        else:
            self.text += data


def inlined(address: str) -> bytes:
    with urlopen(address) as opened:
        found: bytes = opened.read()
    return found


def the_page_needs_nothing_else_and_shows_every_arm_and_figure() -> None:
    text = Path("report/index.html").read_text()
    page = Page(text)
    assert not page.open
    assert all(source.startswith(("data:", "#")) for source in page.sources)
    assert page.alternatives and all(page.alternatives)
    pictures = {inlined(source).replace(b"'", b'"') for source in page.sources if source.startswith("data:im")}
    packed = {zlib.decompress(base64.b64decode(text)) for text in page.packed}
    for table in Path("report/plots").iterdir():
        figure = Path("report/figures") / table.stem
        assert figure.with_suffix(".svg").read_bytes() in pictures
        assert {table.read_bytes(), figure.with_suffix(".json").read_bytes()} <= packed
    for cells in [line.strip("| ").split(" | ") for line in Path("report/comparison.md").read_text().splitlines()]:
        assert all(cell.strip("#*- :") in page.text for cell in cells[:1])
    for name in CONFIGURATIONS:
        assert page.text.count(name) >= 4, name
    assert "a <made> one" in page.text and "<made>" not in text


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
def test_the_page_is_alive_and_asks_the_network_for_nothing(grid: Grid, drawn: Callable[..., None]) -> None:
    """On a telephone; a picture in print and where no script runs."""
    drawn()
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    comparison = made_and_read(grid.only("lstm"), lstm_clipped=Made(valid=(6.0, 3.5)))
    draw(comparison, "overview", "score", "cliff")
    tables.write(comparison, Path("report"))
    write_page(comparison, Path("report"), {}, json.loads(Path("data/corpus.json").read_text()))
    assert Path("report/index.html").stat().st_size < 6e6
    complaints, asked = [], []
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(Path("report/index.html").resolve().as_uri())
        for figure in ("overview", "cliff", "score"):
            page.locator(f"#{figure}").scroll_into_view_if_needed()
            page.locator(f"#{figure}.drawn").wait_for()
        for arm in ("lstm-clipped", "lstm-unclipped"):
            assert page.get_by_text(arm, exact=True).first.is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == 390  # wide tables scroll in their own frame
        the_point_under_the_pointer_tells_its_values(page, comparison.tables["score"])
        with page.expect_download() as download:
            page.locator("#score a").click()
        assert Path(download.value.path()).read_bytes() == Path("report/plots/score.csv").read_bytes()
        a_click_on_the_legend_hides_an_arm_and_the_axis_is_linear_or_logarithmic(page)
        page.emulate_media(media="print")
        assert page.locator("#score img").is_visible() and not page.locator("#score .live").is_visible()
        still = browser.new_context(java_script_enabled=False).new_page()
        still.goto(Path("report/index.html").resolve().as_uri())
        assert still.locator("#score img").is_visible() and still.locator("svg").count() == 0
        assert not still.locator("#score a").is_visible()
        assert still.locator("#score img").evaluate("each => each.complete && each.naturalWidth > 300")
        browser.close()
    assert complaints == []
    assert [address[:5] for address in asked if not address.startswith("data:")] == ["file:"]


def the_point_under_the_pointer_tells_its_values(page: Any, table: pd.DataFrame) -> None:
    found = set()
    for point in page.locator("#score .values_0_marks path").all():
        box = point.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.locator("#vg-tooltip-element.visible").wait_for()
        arm, *told = page.locator("#vg-tooltip-element").locator("h2, td.value").all_inner_texts()
        found.add((f"{arm}-1", *map(float, told)))
    assert found == {(arm, epoch, float(f"{value:.5g}")) for arm, epoch, value in table.itertuples(index=False)}


def a_click_on_the_legend_hides_an_arm_and_the_axis_is_linear_or_logarithmic(page: Any) -> None:
    points, keys, button = (
        page.locator(f"#score {each}") for each in (".values_0_marks path", ".keys_marks path", "button")
    )
    ticks = page.locator("#score .role-axis-label text").get_by_text("0", exact=True)
    assert points.count() == 4 and button.inner_text() == "linear axis" and ticks.count() == 0
    keys.first.click()
    assert {point.get_attribute("fill") for point in points.all()} == {run_colour(0, 1)}
    button.click()
    page.get_by_text("logarithmic axis").wait_for()
    assert ticks.count() == 1 and points.count() == 2
    keys.first.focus()
    page.keyboard.press("Enter")
    assert points.count() == 4 and keys.first.get_attribute("aria-label") == "hide or show lstm-clipped"
    page.keyboard.press("Space")
    assert points.count() == 2
    page.set_viewport_size({"width": 1280, "height": 800})
    page.wait_for_function("document.querySelector('#overview .live svg').getBoundingClientRect().width > 600")
    assert points.count() == 2 and ticks.count() == 1
    keys.first.click()
    assert points.count() == 4


def test_samples_begin_with_the_same_words_and_say_why_there_are_none(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {}

    class Writer:
        def continued(self, prompt: str, **options: Any) -> list[str]:
            said[tuple(options.items())] = prompt
            return [f"{prompt} <and> {len(said)}"]

    def read(arm: str, workspace: Path) -> Writer:
        if arm.startswith("bilstm"):
            raise UserError(f"{arm}: a bidirectional network cannot generate")
        return Writer()

    monkeypatch.setattr(Trained, "read", read)
    written = samples(ARMS)
    assert set(said.values()) == {"went on and on"} and len(said) == len(WAYS)
    assert [list(written[arm]) for arm in ARMS[:4]] == [list(WAYS)] * 4
    assert [written[arm] for arm in ARMS[4:]] == ["A bidirectional network cannot generate."] * 2
    comparison = made_and_read(grid.only("lstm", "bilstm"))
    draw(comparison)
    tables.write(comparison, Path("report"))
    corpus = json.loads(Path("data/corpus.json").read_text()) | {"warnings": {"few_types": "of <4> types only"}}
    write_page(comparison, Path("report"), written, corpus)
    page = Page(Path("report/index.html").read_text())
    assert "of <4> types only" in page.text
    assert "went on and on <and> 1" in page.text and page.text.count("cannot generate") == 2


def test_metrics_are_numbers_under_names_without_dots(grid: Grid) -> None:
    metrics = tables.metrics(made_and_read(grid.only("lstm", "bilstm")))
    for arm, values in metrics.items():
        assert "." not in arm
        assert {name: type(value) for name, value in values.items() if type(value) not in (int, float)} == {}
        assert not any("." in name for name in values)
    assert metrics["lstm-clipped"]["diverged"] == 0


@pytest.mark.parametrize(
    ("file", "stage_of_it"),
    [
        ("runs/lstm-clipped-1/{}", "train@lstm-clipped-1"),
        ("evaluation/lstm-clipped-1/{}", "evaluate@lstm-clipped-1"),
        ("baselines/kneser_ney/{}", "baseline@kneser_ney"),
        ("probes/lstm-clipped-1/{}", "probe@lstm-clipped-1"),
    ],
)
@pytest.mark.parametrize("harm", ["missing", "damaged"])
def test_a_lost_file_is_one_line_with_the_mend(grid: Grid, file: str, stage_of_it: str, harm: str) -> None:
    made_and_read(grid.only("lstm"))
    one_of = {"runs": "summary.json", "probes": "context.csv"}
    path = Path(file.format(one_of.get(file.partition("/")[0], "units.safetensors")))
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-20])
    result = run_stage()
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert str(path.parent) in line and f"dvc repro -f -s {stage_of_it}" in line
    assert not Path("report").exists()


@pytest.mark.parametrize(
    ("lost", "stages"),
    [
        (["probes/rnn-clipped-1"], "probe@rnn-clipped-1"),
        (["runs/rnn-clipped-1", "evaluation/rnn-clipped-1"], "train@rnn-clipped-1 evaluate@rnn-clipped-1"),
    ],
)
def test_without_an_arm_the_others_are_reported(grid: Grid, lost: list[str], stages: str) -> None:
    made_and_read(grid.only("rnn"))
    for folder in lost:
        shutil.rmtree(folder)
    result = run_stage()
    assert result.exit_code == 0, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("rnn-clipped-1 is left out") and line.endswith(f"dvc repro {stages}")
    assert re.search(r"^\| rnn-clipped-1 \|( +\|)+ not there yet \|$", Path("report/comparison.md").read_text(), re.M)
    assert set(pd.read_csv("report/plots/score.csv")["arm"]) == {"rnn-unclipped-1"}
    assert "not there yet" in Page(Path("report/index.html").read_text()).text


@pytest.mark.parametrize("beside", [True, False])
def test_an_arm_without_a_recurrent_matrix_has_no_figures_of_one(grid: Grid, beside: bool) -> None:
    """Beside one that has, or alone."""
    rows = {"mingru": {"cell": "mingru"}, **({"rnn": {"cell": "rnn"}} if beside else {})}
    minimal = Made(matrix=False, gates=("forget",))
    comparison = made_and_read(
        grid.of(json.loads(PARAMS.read_text()) | {"arch": rows}), mingru_clipped=minimal, mingru_unclipped=minimal
    )
    for row in comparison.rows:
        absent = {row[name] is None for name in ("addend_alignment", "spectral_radius", "largest_singular_value")}
        assert absent == {row["arch"] == "mingru"}
    assert run_stage().exit_code == 0
    for name in ("addends", "spectra"):
        assert Path(f"report/figures/{name}.svg").is_file() == beside
        assert set(pd.read_csv(f"report/plots/{name}.csv")["arm"]) == {
            arm.name for arm in comparison.arms if arm.arch == "rnn"
        }
    ((_, table),) = next(each for each in sections(comparison) if "Gradient" in each.title).tables
    assert {cells[0]: cells[-2] == "" for cells in table} == {
        each.name: each.arms[0].arch == "mingru" for each in comparison.configurations
    }


@pytest.mark.parametrize("sweeping", [False, True])
def test_whichever_arms_are_there_they_are_reported(grid: Grid, sweeping: bool) -> None:
    """One alone, every pair, all but one and all, of several architectures; in every figure and table, though not drawn
    to the last pixel."""
    params = json.loads(PARAMS.read_text())
    rows: dict[str, dict[str, Any]] = {"rnn": {"cell": "rnn"}, "bilstm": {"bidirectional": True}}
    if sweeping:  # rows that differ in learning rate, and in depth
        rows = {
            "rnn": {"cell": "rnn"},
            "deep": {"cell": "rnn", "layers": 2},
            "fast": {"cell": "rnn", "learning_rate": 4.0},
        }
        params["clipping"] = {"clipped": {"clip_norm": 0.25}}
    grid.of(params | {"arch": rows})
    whole = made_and_read(grid)
    resolved, corpus = read_resolved("grid"), json.loads(Path("data/corpus.json").read_text())
    baselines, names = read_baselines("language_model"), [arm.name for arm in whole.arms]
    for chosen in itertools.product((True, False), repeat=len(names)):
        arms = [arm for arm, there in zip(whole.arms, chosen, strict=True) if there]
        missing = [name for name, there in zip(names, chosen, strict=True) if not there]
        if len(arms) not in (1, 2, len(names) - 1, len(names)):
            continue
        comparison = compare(resolved, whole.evaluate, Made().digest, arms, baselines, missing)
        report = Path("report", "".join(map(str, map(int, chosen))))
        tables.write(comparison, report)
        tables.write_metrics(comparison, report / "metrics.json")
        draw(comparison, place=report)
        write_page(comparison, report, {}, corpus)
        said = (report / "comparison.md").read_text()
        assert all(name in said for name in {arm.configuration for arm in arms} | set(missing))
        assert json.loads((report / "metrics.json").read_text()).keys() >= {arm.configuration for arm in arms}


@pytest.mark.parametrize(
    ("folder", "stage"), [("runs", "train@rnn-clipped-1"), ("baselines/kneser_ney", "baseline@kneser_ney")]
)
def test_without_any_arm_or_without_a_baseline_there_is_no_report(grid: Grid, folder: str, stage: str) -> None:
    made_and_read(grid.only("rnn"))
    shutil.rmtree(folder)
    result = run_stage()
    assert result.exit_code == 1 and not Path("report").exists()
    (line,) = result.stderr.splitlines()
    assert f"dvc repro -f -s {stage}" in line


# ---- another task


def without_context_probe(folder: Path) -> None:
    made = json.loads((folder / "probe.json").read_text())["made_of"]
    (folder / "probe.json").unlink()
    pd.read_csv(folder / "context.csv")[:0].to_csv(folder / "context.csv", index=False)
    figures = {"arm": folder.name, "made_of": made, **MEASURED, "context_needed": math.nan, "lyapunov_exponent": -0.9}
    figures["explosion"] = None
    seal(folder / "probe.json", figures)


ACCURACY = Score("accuracy", "accuracy", "sequence", lambda hits, sequences: hits / sequences, lower_is_better=False)


def test_a_task_of_one_score_and_few_words_is_compared(
    grid: Grid, drawn: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The higher the better, without variants, baselines, samples or a probe of context."""
    drawn("score")
    parts = {"scores": {"SCORES": (ACCURACY,)}, "report": {"WORDING": Wording("Parity of bits", cluster="speaker")}}
    for module in (comparing, reading):
        monkeypatch.setattr(module, "task_part", lambda task, part: SimpleNamespace(**parts[part]))
    monkeypatch.setattr("test_comparison.STREAM", (np.arange(TOKENS) % 4 > 0).astype(np.float32))
    parity = Grid((ACCURACY,), {}).of(json.loads(PARAMS.read_text())).only("rnn", "lstm")
    files = {"grid": {"task": "parity", "arms": parity.entries}}
    files |= {f"arms/{arm}": read_arm(arm) | {"task": "parity"} for arm in ARMS[:4]}
    digests = {name: write_resolved(name, content) for name, content in files.items()}
    stated = read_resolved("params")
    write_resolved("params", stated | {"files": stated["files"] | digests})
    for arm, valid in zip(ARMS[:4], (0.7, 0.9, math.nan, 0.8), strict=True):
        make(arm, Made(valid=(0.5, valid)), parity.scores)
        without_context_probe(Path("probes", arm))
    result = run_stage()
    assert result.exit_code == 0, result.output
    assert "| arm | accuracy, 95% interval | validation accuracy | best epoch | outcome |" in result.output
    assert "| rnn-clipped | 0.750 [0.7" in result.output and "400 test sequences" in result.output
    assert "| difference | accuracy, 95% interval |\n" in result.output and "Above 0: the first" in result.output
    assert "what other speakers would have given" in result.output
    assert "ontext" not in result.output and "perplexity" not in result.output
    metrics = json.loads(Path("metrics.json").read_text())
    assert list(metrics) == CONFIGURATIONS[:4] and metrics["rnn-clipped"]["accuracy"] == 0.75
    assert pd.read_csv("report/plots/score.csv")["accuracy"].max() == 0.9
    assert not Path("report/plots/context.csv").exists() and not Path("report/figures/context.svg").exists()
    assert "Validation accuracy (higher is better)" in Path("report/figures/score.svg").read_text()
    page = Page(Path("report/index.html").read_text())
    assert "Parity of bits on a <made> one" in page.text and "Samples" not in page.text


# ---- divergence is a result


DIVERGED = Made(handicap=1e30, norms=(1.0, 1e17, 3e20, math.inf), decay=1.5, valid=(800.0, 0.0), diverged=2)


def test_a_diverged_arm_is_shown(grid: Grid, drawn: Callable[..., None]) -> None:
    drawn()
    made_and_read(grid.only("rnn"), rnn_unclipped=DIVERGED)
    result = run_stage()
    assert result.exit_code == 0, result.output
    text = Path("report/comparison.md").read_text()
    assert "| rnn-unclipped | above 1e6 |" in text and "diverged at step 4" in text
    metrics = json.loads(Path("metrics.json").read_text())["rnn-unclipped"]
    assert metrics["forward_perplexity"] == metrics["forward_perplexity_valid"] == math.inf and metrics["diverged"] == 1
    assert metrics["grad_norm_max"] == 3e20 and metrics["nonfinite_share"] == 0.25
    with open("report/comparison.csv", encoding="utf-8") as file:
        row = next(row for row in csv.DictReader(file) if row["arm"] == "rnn-unclipped-1")
    assert float(row["half_life"]) == 6.5
    pairs = json.loads(Path("report/comparison.json").read_text())["paired"]
    pair = next(pair for pair in pairs if pair["minus"] == "rnn-unclipped")
    assert pair["seeds"] == [] and "ratio" not in pair  # it leads over nobody
    for path in Path("report/plots").iterdir():  # vega drops a whole line at an inf
        assert np.isfinite(pd.read_csv(path).select_dtypes("number")).all(axis=None)


def test_an_arm_that_diverged_before_anything_was_known(grid: Grid, drawn: Callable[..., None]) -> None:
    drawn()
    nothing = Made(handicap=math.inf, norms=(math.nan, math.nan), diverged=1)
    comparison = made_and_read(grid.only("rnn"), rnn_unclipped=nothing)
    tables.write(comparison, Path("report"))
    assert "diverged at step 1" in tables.markdown(comparison)
    metrics = tables.metrics(comparison)["rnn-unclipped"]
    assert {name: metrics.get(name) for name in ("forward_perplexity", "nonfinite_share", "diverged")} == {
        "forward_perplexity": math.inf,
        "nonfinite_share": 1,
        "diverged": 1,
    }
    assert not {"forward_perplexity_valid", "grad_norm_median", "grad_norm_max"} & set(metrics)
    draw(comparison)
    draw(made_and_read(grid, ["rnn-unclipped-1"], rnn_unclipped=nothing))  # and if there is nobody else


def draw(comparison: Comparison, *names: str, place: Path = Path("report")) -> None:
    Figures(comparison).write(place / "figures", names or None)


# ---- figures


def test_twins_share_a_hue_and_no_two_arms_look_alike(grid: Grid) -> None:
    drawn = lines(grid.entries, dict.fromkeys(ARMS))
    assert len({(line.colour, line.dash) for line in drawn}) == len(drawn)
    assert len({line.dash for line in drawn if line.configuration.endswith("-clipped")}) == 1
    for clipped, unclipped in zip(drawn[::2], drawn[1::2], strict=True):
        dark, light = (np.array([int(line.colour[i : i + 2], 16) for i in (1, 3, 5)]) for line in (clipped, unclipped))
        assert (dark <= light).all() and (dark < light).any()


@pytest.mark.parametrize("addend", [0.0, 1e-20, 1e30, math.nan])
def test_addends_of_an_arm_that_exploded_are_drawn_or_left_out(
    grid: Grid, drawn: Callable[..., None], addend: float
) -> None:
    """0: a saturated tanh passes no gradient on."""
    drawn()
    comparison = made_and_read(grid.only("rnn", "lstm"), rnn_unclipped=Made(addend=addend))
    [alignment] = [row["addend_alignment"] for row in comparison.rows if row["arm"] == "rnn-unclipped-1"]
    assert math.isnan(alignment) if math.isnan(addend) or not addend else alignment == 0.5
    draw(comparison, "addends", "overview")
    said = re.findall("rnn-unclipped: (.*?) at every step", Path("report/figures/addends.svg").read_text())
    assert said == {0.0: ["0"], 1e-20: ["at most 1e-20"]}.get(addend, [])
    draw(made_and_read(grid, ["rnn-unclipped-1"], rnn_unclipped=Made(addend=addend)), "addends")


def test_the_cliff_shows_where_a_step_landed_and_where_it_would_have_clipped(grid: Grid) -> None:
    """At learning rate times the threshold of the twin, which is the landing times clip_norm / norm: 0.25 / 100."""
    comparison = made_and_read(grid.only("lstm"), lstm_unclipped=Made(cliff=(0.0, 0.001, 0.0025, 1.0, 50.0)))
    arms = Figures(comparison).arms
    figures = PhenomenaFigures(arms, comparison, 1e3)
    (panel,) = figures.makers(lambda panel: None)["cliff"]().panels
    dots = [(panel.series[row["s"]], row["x"], row["y"]) for row in panel.rows if not panel.series[row["s"]].look.width]
    assert [(dot.arm, dot.look.open, x, y) for dot, x, y in dots] == [
        ("lstm-clipped", False, 1.0, 6.0),
        ("lstm-unclipped", False, 1.0, 6.0),
        ("lstm-unclipped", True, pytest.approx(0.0025), pytest.approx(5 + 0.0025**2, rel=1e-5)),
    ]


@pytest.mark.parametrize("name", ["arms_linear", "arms_log", "arms_profile"])
def test_dvc_plots_look_as_the_report_does(name: str) -> None:
    template = json.loads((ROOT / ".dvc" / "plots" / f"{name}.json").read_text())
    assert template["config"] == chart.CONFIG and template["$schema"] == chart.SCHEMA
    assert template["spec"]["encoding"]["color"]["scale"]["range"] == list(HUES)


def test_more_architectures_than_panels_in_a_row(grid: Grid, drawn: Callable[..., None]) -> None:
    drawn()
    params = YAML(typ="safe", pure=True).load(PARAMS)
    params["arch"] |= {"small": {"cell": "rnn"}, "other": {"cell": "rnn"}}
    params["clipping"] = {"loose": {"clip_norm": 5.0}, "tight": {"clip_norm": 0.1}, "unclipped": {"clip_norm": None}}
    comparison = made_and_read(grid.of(params))
    draw(comparison, "grad_norm", "addends", "saturation", "explosion")
    assert len(comparison.pairs) == 5 * 2 + 3 * (4 + 3) + 5 * 3


# ---- how numbers read


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (3, "3"),
        (1234567, "1,234,567"),
        (0.0, "0"),
        (0.25, "0.250"),
        (9.5, "9.500"),
        (96.314, "96.31"),
        (325.04, "325.0"),
        (4166.0, "4,166"),
        (3.17e17, "3.2e+17"),
        (-0.0001, "-0.0001"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_numbers_are_as_long_as_they_need_be(value: float | None, text: str) -> None:
    assert number(value) == text


def test_signed_numbers() -> None:
    assert [number(value, signed=True) for value in (0.5, -0.5, 1e9)] == ["+0.500", "-0.500", "+1e+09"]


@pytest.mark.parametrize("panels", [1, 2, 3, 5])
@pytest.mark.parametrize("archs", [1, 3, 5, 10])
def test_a_legend_stays_within_its_figure_and_names_everyone(panels: int, archs: int) -> None:
    grid = [
        {
            "arm": f"architecture_{number}-{clipping}-1",
            "arch": f"architecture_{number}",
            "clipping": clipping,
            "seed": 1,
        }
        for number in range(archs)
        for clipping in ("clipped", "unclipped")
    ]
    lines = drawing.lines(grid, {cell["arm"]: None for cell in grid})
    extras = [Key("Kneser-Ney n-grams", drawing.BASELINES[0])]
    drawn = drawing.row([lambda panel: panel.set("a title", "epoch")] * panels, lines, extras)
    whole = drawn.specification(live=False)
    legend = (whole.get("hconcat") or whole["vconcat"])[-1]
    rows = legend["data"]["values"]
    assert sorted(row["label"] for row in rows) == sorted(
        [*{line.configuration for line in lines}, "Kneser-Ney n-grams"]
    )
    assert all(row["end"] <= legend["width"] and row["bottom"] <= legend["height"] for row in rows)
    assert panels == 1 or legend["width"] <= max(400, SIZES[drawn.columns][0] * drawn.columns + 200)


def test_an_axis_of_norms_stands_where_no_loss_is_at_the_last_step() -> None:
    """As where a maximum over time is read out, and nothing is largest at a text's end."""
    table = pd.DataFrame({"distance": [0, 0, 1, 2, 3], "norm": [0.0, 0.0, 0.02, 0.5, 0.08]})
    typical = drawing.norm_at_losses(table)
    panel = Panel()
    drawing.finish(panel, table["norm"], top=1e4 * typical, bottom=1e-12 * typical)
    assert typical == 0.08 and panel.y.limits is not None and 0 < panel.y.limits[0] < 0.02 < 0.5 < panel.y.limits[1]
    assert drawing.norm_at_losses(table.assign(norm=[3.0, 1.0, 9.0, 9.0, 9.0])) == 2
    drawing.finish(panel, 0 * table["norm"], top=1e4 * drawing.norm_at_losses(0 * table), bottom=0.0)
    assert panel.y.limits == (0.1, 10.0)
