"""Any value under any key of params.yaml is refused in one line, or trains, scores and probes a tiny network."""

import copy
import datetime
import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, get_args

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from miniature import ROOT, SIZES, corpus_of, made_of, split_of, text_of
from unrolled.ground import resolved as ground
from unrolled.ground.evaluation import Evaluation
from unrolled.ground.resolved import read_arm, read_resolved
from unrolled.probing.probe import probe
from unrolled.scoring.evaluation import write_evaluation
from unrolled.settings import loader
from unrolled.settings.loader import arch_keys, load_params, sections_of
from unrolled.settings.resolve import resolve
from unrolled.settings.sections import ClippingSettings
from unrolled.shell.errors import UserError
from unrolled.tasks.language_model.evaluation.evaluate import evaluate, kneser_ney
from unrolled.tasks.language_model.evaluation.scores import SCORES
from unrolled.tasks.language_model.settings import parameters
from unrolled.training.fit import fit
from unrolled.training.training import Training

TASK = "language_model"
SECTIONS = sections_of(TASK)
TOKENS = text_of(200)
TRAIN, VALID = split_of(TOKENS[:150]), split_of(TOKENS[150:])
CORPUS = corpus_of(split_of(TOKENS), split_of(TOKENS[:40]), split_of(TOKENS[40:90], 0, 20))
STEPS = pd.DataFrame({"grad_norm": [1.0, 1.0, 9e9], "loss": [3.0, 3.0, 9.0], "learning_rate": 1.0, "epoch": 1})
LONGEST = 300  # characters of a message, and then some for the keys that it offers

NUMBERS = st.one_of(
    st.integers(-2, 12),
    st.sampled_from([2**31, 2**32 - 1, 2**32, 2**63, 2**70, -(2**63), 10**9, 10**12, -(10**30)]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 1e-320, 1e-46, 1e30, 1e38, 4e38, 1e300, 1 - 1e-16, 0.5, 1.0, math.nan, math.inf]),
)
FIELDS = {
    key: field.annotation
    for section in (*SECTIONS.values(), ClippingSettings)
    for key, field in section.model_fields.items()
}
NAMES = st.sampled_from(["word", "lstm", "uniform", "text", "*", "..", "\0", "\ud800", "x" * 9999])
PLAIN = st.one_of(
    NUMBERS, NAMES, st.none(), st.booleans(), st.text(max_size=5), st.binary(max_size=3),
    st.dates(), st.datetimes(), st.just(datetime.date.max),
)  # fmt: skip
NESTED = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | NUMBERS, inner, max_size=2)
)
VALUES = NUMBERS | NAMES | NESTED | st.lists(NUMBERS, max_size=2)
LIKELY: dict[type, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    int: st.integers(1, 12),
    float: st.floats(0, 1) | st.sampled_from([1e-320, 1e-46, 1e30, 1 - 1e-16]),
    list: st.lists(st.integers(1, 5) | st.floats(0, 1), min_size=1, max_size=2),
}
PLACES = ("input", "between", "output")
OF_LAYERS: dict[str, st.SearchStrategy[Any]] = {  # where not one value for all layers, or places, is given
    "hidden": st.lists(st.integers(1, 9), min_size=1, max_size=3),
    "dropout": st.fixed_dictionaries(dict.fromkeys(PLACES, st.floats(0, 1))),
    "dropout_mask": st.fixed_dictionaries(dict.fromkeys(PLACES, st.sampled_from(["step", "window", "column"]))),
}
STRANGE_KEYS = st.text(max_size=4) | st.sampled_from([None, True, 1, 1.5, (1, 2), "x" * 999, "self", "a\nb"])


def base() -> dict[str, Any]:
    """The project's params.yaml, made tiny."""
    raw: dict[str, Any] = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    raw["network"] |= {"embedding": 4, "hidden": 4}
    raw["train"] |= {"columns": 4, "window": 8, "learning_rate": 1.0}
    raw["evaluate"] |= {"bootstrap_samples": 5, "ngram_order": 2}
    raw["probe"] |= {"contexts": [1, 3], "positions": 9, "lyapunov_steps": 9, "lyapunov_exponents": 3}
    raw["arch"], raw["clipping"] = {"a": {"cell": "lstm"}}, {"c": {"clip_norm": 0.25}}
    return raw


BASE = base()
PLACES = [(name, key) for name in SECTIONS for key in BASE[name]]
ROWS = [*(("arch", "a", key) for key in arch_keys(TASK)), ("clipping", "c", "clip_norm")]


def values(key: str) -> st.SearchStrategy[Any]:
    """Of any kind, but more often than not of the kind that the key holds."""
    names = [name for name in get_args(FIELDS[key]) if isinstance(name, str)]
    held = next((BASE[name][key] for name in SECTIONS if key in BASE[name]), 0.25)
    likely = st.sampled_from(names) if names else LIKELY.get(type(held), st.none() | LIKELY[int])
    likely = likely | OF_LAYERS[key] if key in OF_LAYERS else likely
    return st.sampled_from([likely] * 6 + [NUMBERS, VALUES]).flatmap(lambda drawn: drawn)


@st.composite
def contents(draw: st.DrawFn, sections: tuple[str, ...] = (*SECTIONS, "arch", "clipping")) -> dict[str, Any]:
    """What a params.yaml may hold: one to three values exchanged, now and then a key removed or added."""
    raw = copy.deepcopy(BASE)
    for _ in range(draw(st.integers(1, 4))):
        *parents, key = draw(st.sampled_from([place for place in PLACES + ROWS if place[0] in sections]))
        held = raw
        for parent in parents:
            held = held[parent] if isinstance(held.get(parent), dict) else {}
        change = draw(st.sampled_from(["set"] * 30 + ["remove", "add", "replace"]))
        if change == "remove":
            held.pop(key, None)
        elif change == "replace":
            raw[draw(st.sampled_from([*raw, *(["strange"] if "arch" in sections else [])]))] = draw(VALUES)
        else:
            held[key if change == "set" else draw(STRANGE_KEYS)] = draw(values(key))
    return raw


def loaded(raw: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each arm of a file that holds ``raw`` and how it is scored and probed, as the stages read them.

    Nothing where it is refused, in one line.
    """
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as name:
        for module in (loader, ground):
            patch.setattr(module, "YAML", lambda **_: SimpleNamespace(load=lambda _: raw))
        folder = Path(name) / "resolved"
        try:
            resolve(ROOT / "params.yaml", folder)
        except UserError as error:
            check_line(error)
            assert not folder.exists()
            return
        params, probes = load_params(ROOT / "params.yaml"), read_resolved("probe", folder)
        arms = [read_arm(arm["arm"], folder) for arm in read_resolved("grid", folder)["arms"]]
    assert arms == [
        {**arm, "train": {key: value for key, value in arm["train"].items() if key != "start_from"}}
        for arm in params.arms.values()
    ]  # no run is there from which one could start
    assert all(probes[section] == params.sections[section] for section in ("evaluate", "probe"))
    for arm in arms:
        yield arm, probes


def check_line(error: UserError) -> None:
    message = str(error).removeprefix(str(ROOT))
    assert message.isprintable() and len(message.partition(" (known: ")[0]) < LONGEST, message


@given(contents(("train", "network", "corpus", "vocabulary", "arch", "clipping")))
def test_what_is_not_refused_trains(raw: dict[str, Any]) -> None:
    for arm, _ in loaded(raw):
        if arm["network"]["layers"] > 9 or parameters(arm["network"], SIZES) > 10**5:
            continue  # test_memory.py has what is too large
        try:
            for _ in islice(fit(Training.of(arm, SIZES), TRAIN, VALID), 4):
                pass
        except UserError as error:
            check_line(error)


@given(contents(("evaluate", "probe")))
@settings(max_examples=30)
def test_what_is_not_refused_scores_and_probes(raw: dict[str, Any]) -> None:
    for arm, sections in loaded(raw):
        own, of_probe = sections["evaluate"], sections["probe"]
        if max(own["bootstrap_samples"], of_probe["positions"], of_probe["lyapunov_steps"]) > 1000:
            continue  # would take its time, no more
        training, made = Training.of(arm, SIZES), made_of(own)
        model = training.model
        with TemporaryDirectory() as name:
            place = Path(name)
            try:
                write_evaluation(place / "kneser_ney", "kneser_ney", kneser_ney(CORPUS, own), SCORES, made)
                scored = evaluate(model, CORPUS, own, {"kneser_ney": Evaluation.read(place / "kneser_ney")})
                write_evaluation(place / "scores", "a-c", scored, SCORES, made | {"run": "run"})
                run: Any = SimpleNamespace(
                    arm="a-c",
                    settings=arm | {"sizes": SIZES},
                    steps=STEPS,
                    model=lambda model=model: model,
                    digest="run",
                    check=lambda corpus: None,
                    task=training.task,
                    main_stack="forward",
                )
                evaluation = Evaluation.read(place / "scores")
                probe(place / "probes", run, evaluation, CORPUS, sections)
            except UserError as error:
                check_line(error)
            else:
                assert math.isfinite(evaluation.values["forward_perplexity"])
