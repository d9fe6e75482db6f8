"""A trained language model as a script has it: what `unrolled score` and `unrolled generate` do, on text in memory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from unrolled.corpus.files.lines import lines_of
from unrolled.ground.special_tokens import END_ID
from unrolled.recurrence.profile import Profile, lag_profile
from unrolled.shell.errors import UserError
from unrolled.tasks.language_model.text.inference import Surprisal, Trained
from unrolled.tasks.language_model.text.reading import last_sentence


def read(arm: str, workspace: Path) -> "LanguageModel":
    """UserError as `Trained.read`."""
    with torch.inference_mode(False):  # whose weights could have no gradient for `profile`
        return LanguageModel(Trained.read(arm, workspace))


@dataclass(frozen=True)
class LanguageModel:
    """See the one of the same name in `library/trained.py`."""

    trained: Trained

    @property
    def arm(self) -> str:
        return self.trained.arm

    def surprisals(self, text: str) -> list[list[Surprisal]]:
        """UserError where there is no word."""
        return list(self.trained.surprisals(lines_of(_checked(text), self.trained.reading)))

    def continue_(self, prompt: str, *, length: int = 60, seed: int = 1, **options: Any) -> str:
        """UserError as `Trained.said`."""
        (text,) = self.trained.continued(_checked(prompt), length=length, seed=seed, **options)
        return text

    def profile(self, text: str) -> dict[str, Tensor]:
        """Of the stack that reads from left to right. UserError where there is no word."""
        network = self.trained.network
        ids = last_sentence(network, self.trained.ids(_checked(text)))
        if not ids:
            raise UserError("a text to profile must hold at least one word, in its last line")

        def last_loss(profile: Profile) -> Tensor:
            before, target = torch.tensor([END_ID, *ids[:-1]])[:, None], torch.tensor(ids[-1:])
            hidden, _ = network.read("forward", before, network.initial_state(1).forward, profile=profile)
            return cross_entropy(network.logits(hidden[-1]), target)

        with torch.inference_mode(False), torch.enable_grad():  # whoever reads with a trained network may have them off
            return lag_profile(last_loss, network.parameters())


def _checked(text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"a text is a string, not {type(text).__name__}")
    return text
