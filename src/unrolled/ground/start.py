"""Where the runs lie that trainings start from: copies, for the stage that trains first removes what it made before.

checkpoints/start-<16 digits of its digest>/
  run/          weights and settings; of a run directory all of its files
  vocabulary/   what its ids stand for, where that was known when it was copied
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

from unrolled.ground.checksums import sha256
from unrolled.ground.corpus import NAMES, TOKENIZER
from unrolled.shell.workspace import repository

CHECKPOINTS = "checkpoints"  # at the repository's root: what trainings go on from
WEIGHTS, SETTINGS = "weights.safetensors", "settings.json"
VOCABULARY = (TOKENIZER, NAMES)


class Start(NamedTuple):
    """A run that trainings start from: where it was found, and the digest of its weights and settings."""

    address: str
    digest: str

    @classmethod
    def of(cls, stated: str) -> "Start":
        """From what a resolved arm states: ``address@digest``."""
        return cls(*stated.rpartition("@")[::2])

    @property
    def stated(self) -> str:
        return f"{self.address}@{self.digest}"

    @property
    def folder(self) -> Path:
        """Of its copy, at the repository's root: so `dvc exp run --temp` finds it too."""
        return repository(Path()) / CHECKPOINTS / f"start-{self.digest[:16]}"


def digest_of(run: Path) -> str:
    """Of a run's weights and settings."""
    return hashlib.sha256(f"{sha256(run / WEIGHTS)} {sha256(run / SETTINGS)}".encode()).hexdigest()
