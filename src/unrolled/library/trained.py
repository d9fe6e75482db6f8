"""A network that a pipeline has trained, for a notebook or a script; needs the laboratory's packages."""

import os
from os import PathLike
from pathlib import Path
from typing import Any, Protocol, cast

from torch import Tensor

from unrolled.shell.errors import UserError, laboratory_missing


class LanguageModel(Protocol):
    """A trained language model with its tokenizer. A text is read as its corpus was, line by line."""

    @property
    def arm(self) -> str:
        """Its name in runs/."""

    def surprisals(self, text: str) -> list[list[Any]]:
        """By line, and in it by token with the end of the line: a row of `word`, `known`, `bits`.

        bits: -log2 p of the token given all before it (in its line alone, if the network was trained so); of a word
        that the vocabulary lacks, those of <unk>. As `unrolled score`.
        """

    def continue_(self, prompt: str, *, length: int = 60, seed: int = 1, **options: Any) -> str:
        """The prompt and ``length`` tokens after it, drawn from what the network expects; as `unrolled generate`.

        Options: temperature (0: always the likeliest), top_k, nucleus, unknown (whether <unk> may be drawn).
        """

    def profile(self, text: str) -> dict[str, Tensor]:
        """How far back the surprisal of the text's last token reaches, by layer: {"forward.0": [T], ...}.

        Element d is ||d nats / dh||, L2 over units, d tokens before the one that the last is expected after.
        """


def load(directory: str | PathLike[str]) -> LanguageModel:
    """The trained language model of a run directory, every byte of it checked; its weights are never unpickled.

    The corpus that it was trained on must lie in its place, data/encoded of the same pipeline. A seed need not be named
    where there is one alone. UserError, in one line, where it is not trained, damaged, of another corpus or no language
    model; ImportError where the laboratory's packages are not installed.

    >>> import unrolled
    >>> model = unrolled.load("runs/lstm-clipped")
    >>> model.continue_("the dog sat", length=2, temperature=0)
    'the dog sat on the'
    >>> [row.word for line in model.surprisals("a cat") for row in line], len(model.profile("a cat")["forward.0"])
    (['a', 'cat', '<eos>'], 2)
    """
    try:  # here, not above: only who installed the laboratory has what these import
        from unrolled.ground.registry import has_part, task_names, task_part
        from unrolled.ground.trained import place_of

        place = Path(directory)  # as it is named, for messages; from within runs/ that does not say where it lies
        arm, workspace, task = place_of(place if place.parent.name == "runs" else Path(os.path.abspath(place)))
        if not has_part(task, "loaded"):
            others = ", ".join(name for name in task_names() if has_part(name, "loaded"))
            raise UserError(f"{directory} is of the task {task}; loaded are only networks of {others}")
        return cast(LanguageModel, task_part(task, "loaded").read(arm, workspace))
    except ModuleNotFoundError as error:
        raise ImportError(f"unrolled.load: {laboratory_missing(error)}") from None
