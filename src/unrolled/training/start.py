"""`train.start_from`: a training that begins where a finished one ended, or with its weights."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from unrolled.ground.checksums import json_of
from unrolled.ground.corpus import vocabularies
from unrolled.ground.layers import spelled_out
from unrolled.ground.older_runs import completed
from unrolled.ground.start import SETTINGS, WEIGHTS, Start
from unrolled.shell.errors import UserError
from unrolled.training.history import History
from unrolled.training.state import LAST, read_last, set_state
from unrolled.training.training import Training

FREE = ("epochs", "start_from", "profile_every")  # of the section train: what may differ where a training goes on

Names = Mapping[str, list[str]]  # what the ids of each kind stand for


def begin(training: Training, history: History, arm: Mapping[str, Any], corpus: str, encoded: Path) -> None:
    """Begin where ``train.start_from`` says, and tell how; nothing where it says nothing, or the training has begun.

    The same corpus and settings, but for more epochs: the training goes on, and in the end has the bytes of one that
    was never interrupted. Otherwise the weights alone are taken over, in ``encoded`` by what their rows stand for.
    UserError where the run is not there any more, or does not fit.
    """
    if training.step or not (stated := arm["train"].get("start_from")):
        return
    start = Start.of(stated)
    if not start.whole():
        raise UserError(
            f"{start.folder}, the copy of {start.address} that {arm['arm']} starts from, is missing or altered; "
            "make it again with: dvc repro -f -s resolve"
        )
    settings = json_of(start.run / SETTINGS)
    other = _another(settings, arm, corpus)
    if other is None and (start.run / LAST).is_file():
        said = _go_on(training, history, start)
    else:
        taken = _taken_over(training, settings, arm, start, corpus, encoded)
        said = f"starts with the weights of {start.address}; {taken}"
        if other:
            said += f"; the optimiser begins anew, as {other}"
    print(f"{arm['arm']}: {said}", file=sys.stderr)


def _another(settings: Mapping[str, Any], arm: Mapping[str, Any], corpus: str) -> str | None:
    """The first thing that was another in the run that is started from."""
    train = {key: value for key, value in arm["train"].items() if key not in FREE}
    others = _others("network", settings["network"], arm["network"])
    others |= _others("train", completed(settings["train"]), train)
    of_corpus = None if settings["corpus_digest"] == corpus else "the corpus is another"
    return next(iter(others.values()), of_corpus)


def _others(section: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """What a section says of the keys that are another now, and not only spelt in another way."""
    meant_then, meant_now = spelled_out(was), spelled_out(now)
    return {
        key: f"{section}.{key} was {was.get(key)} and is {value}"
        for key, value in now.items()
        if was.get(key) != value and meant_then.get(key) != meant_now[key]
    }


def _go_on(training: Training, history: History, start: Start) -> str:
    tensors, text = read_last(start.run)
    if (done := text["training"]["epoch"]) >= (wanted := training.options.epochs):
        raise UserError(
            f"train.start_from: {start.address} was trained for {done} epochs with these settings already, and "
            f"train.epochs is {wanted}; raise it"
        )
    set_state(training, history, tensors, text)
    history.inherited = training.step
    return f"training goes on from {start.address}, after epoch {done} and step {training.step:,}"


def _taken_over(
    training: Training,
    settings: Mapping[str, Any],
    arm: Mapping[str, Any],
    start: Start,
    corpus: str,
    encoded: Path,
) -> str:
    """Take over the weights, of rows that stand for something by its name; how many are left as they were drawn."""
    weights, model = load_file(start.run / WEIGHTS), training.model
    names = vocabularies(encoded)
    known = names if settings["corpus_digest"] == corpus else vocabularies(start.folder / "vocabulary")
    rows = {} if known == names else model.rows()
    if known != names and not (known and rows):
        own = "start from a run of this corpus"
        why = f"this network cannot take rows over one by one; {own}"
        if rows:
            why = (
                "what its rows stand for is not known; name it by its place inside the clone that it was trained in, "
                f"beside whose runs/ data/encoded must still be of its text, or name a model of MLflow, or {own}"
            )
        raise UserError(
            f"train.start_from: {start.address} was trained with another vocabulary than data/encoded has, and {why}"
        )
    _check_fit(model.state_dict(), weights, rows, settings, arm, start)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if kind := rows.get(name):
                _take_rows(parameter, weights[name], names[kind], known[kind])
            else:
                parameter.copy_(weights[name])
    new = {kind: len({*names[kind]} - {*known[kind]}) for kind in dict.fromkeys(rows.values())}
    told = [f"{new[kind]:,} of {len(names[kind]):,} {kind} are new to it and drawn anew" for kind in new]
    return ", ".join(told) or "its vocabulary is the same"


def _take_rows(parameter: Tensor, weights: Tensor, names: list[str], known: list[str]) -> None:
    """Copy the row of each name from where the other vocabulary has it; one that it lacks stays as it was drawn."""
    place = {name: index for index, name in enumerate(known[: len(weights)])}
    pairs = [(row, place[name]) for row, name in enumerate(names[: len(parameter)]) if name in place]
    ours, theirs = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).t()
    parameter[ours.to(parameter.device)] = weights[theirs].to(parameter.device)


def _check_fit(
    ours: Mapping[str, Tensor],
    theirs: Mapping[str, Tensor],
    rows: Mapping[str, str],
    settings: Mapping[str, Any],
    arm: Mapping[str, Any],
    start: Start,
) -> None:
    """UserError where the networks differ in their cells, or in a shape other than in how many rows there are."""
    shapes = [{name: each.shape[name in rows :] for name, each in of.items()} for of in (ours, theirs)]
    others = _others("network", settings["network"], arm["network"])
    cells = [said for key, said in others.items() if "cell" in key]
    if shapes[0] != shapes[1] or cells:
        named = ", ".join(cells or others.values())
        raise UserError(
            f"train.start_from: {start.address} has another network than {arm['arm']} ({named or 'other sizes'}); "
            "a folder of runs, as runs, gives each arm its own"
        )
