"""Any value under any key of params.yaml is refused in one line, or trains, scores and probes a tiny network."""

import copy
import datetime
import math
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from unrolled import settings as settings_file
from unrolled.errors import UserError
from unrolled.lab.evaluate import Text, evaluate
from unrolled.lab.fit import Training, fit
from unrolled.lab.memory import weights
from unrolled.lab.probe import probe
from unrolled.settings import ARCH_KEYS, PARAMS, SECTIONS, Settings

ROOT = Path(__file__).parents[1]
V, EOS = 20, 1
TOKENS = (np.cumsum(np.random.default_rng(0).integers(0, 3, 200)) % V).astype(np.uint16)
TEXT = Text(TOKENS, TOKENS[:40], TOKENS[40:90], np.bincount(TOKENS, minlength=V), characters=200, eos=EOS)
NORMS = pd.Series([1.0, 1.0, 9e9])
LONGEST = 300  # characters of a message, and then some for the keys that it offers

NUMBERS = st.one_of(
    st.integers(-2, 12),
    st.sampled_from([2**31, 2**32 - 1, 2**32, 2**63, 2**70, -(2**63), 10**9, 10**12, -(10**30)]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 1e-320, 1e-46, 1e30, 1e38, 4e38, 1e300, 1 - 1e-16, 0.5, 1.0, math.nan, math.inf]),
)
FIELDS = {key: field.annotation for section in SECTIONS.values() for key, field in section.model_fields.items()}
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
ROWS = [*(("arch", "a", key) for key in ARCH_KEYS), ("clipping", "c", "clip_norm")]


def values(key: str) -> st.SearchStrategy[Any]:
    """Of any kind, but more often than not of the kind that the key holds."""
    names = [name for name in get_args(FIELDS[key]) if isinstance(name, str)]
    held = next((BASE[name][key] for name in SECTIONS if key in BASE[name]), 0.25)
    likely = st.sampled_from(names) if names else LIKELY.get(type(held), st.none() | LIKELY[int])
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


def loaded(raw: dict[str, Any]) -> Iterator[Settings]:
    """The settings of each arm of a file that holds ``raw``; nothing where it is refused, in one line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings_file, "YAML", lambda **_: SimpleNamespace(load=lambda _: raw))
        try:
            read = [Settings.load(ROOT / PARAMS, arm) for arm in Settings.arms(ROOT / PARAMS)]
        except UserError as error:
            check_line(error)
            return
    yield from read


def check_line(error: UserError) -> None:
    message = str(error).removeprefix(str(ROOT))
    assert message.isprintable() and len(message.partition(" (known: ")[0]) < LONGEST, message


@given(contents(("train", "network", "corpus", "vocabulary", "arch", "clipping")))
def test_what_is_not_refused_trains(raw: dict[str, Any]) -> None:
    for each in loaded(raw):
        if each.network.layers > 9 or weights(each.network, V) > 10**5:
            continue  # test_memory.py has what is too large
        try:
            training = Training.of(each, V)
            for _ in islice(fit(training, TOKENS[:150], TOKENS[150:], eos=EOS), 4):
                pass
        except UserError as error:
            check_line(error)


@given(contents(("evaluate", "probe")))
@settings(max_examples=30)
def test_what_is_not_refused_scores_and_probes(raw: dict[str, Any]) -> None:
    for each in loaded(raw):
        if max(each.evaluate.bootstrap_samples, each.probe.positions, each.probe.lyapunov_steps) > 1000:
            continue  # would take its time, no more
        network, nats = Training.of(each, V).network, np.full(50, 2.0, dtype=np.float32)
        with TemporaryDirectory() as name:
            place, replay = Path(name), partial(Training.of, each, V)
            try:
                scores = evaluate(place / "scores", "a-c", network, TEXT, each.evaluate, (np.full(40, 2.0), nats))
                probe(place / "probes", network, TEXT.test, nats, each, EOS, NORMS, replay, TOKENS)
            except UserError as error:
                check_line(error)
            else:
                assert math.isfinite(scores["forward_perplexity"])
