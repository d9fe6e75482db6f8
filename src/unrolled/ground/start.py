"""Where the runs lie that trainings start from: copies, for the stage that trains first removes what it made before.

checkpoints/start-<16 digits of its digest>/
  run/          weights and settings; of a run directory all of its files
  vocabulary/   what its ids stand for, where that was known when it was copied
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from unrolled.ground.checksums import read_sealed, sha256
from unrolled.ground.corpus import NAMES, TOKENIZER
from unrolled.shell.errors import UserError
from unrolled.shell.workspace import repository

WEIGHTS, SETTINGS = "weights.safetensors", "settings.json"  # in a run directory too
VOCABULARY = (TOKENIZER, NAMES)


def checkpoints_of(workspace: Path = Path(), environ: Mapping[str, str] = os.environ) -> Path:
    """Where that lies which trainings go on from: `UNROLLED_CHECKPOINTS`, for several machines, or in the repository.

    At its root, so that `dvc exp run --temp` and `--queue` find it too; a relative path counts from there. UserError
    where it is in the home of a user that there is not.
    """
    said = environ.get("UNROLLED_CHECKPOINTS") or "checkpoints"
    try:
        return repository(workspace, environ) / Path(said).expanduser()
    except RuntimeError:
        raise UserError(f"UNROLLED_CHECKPOINTS={said}: there is no such user; name a folder by its path") from None


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
        """Of its copy."""
        return checkpoints_of() / f"start-{self.digest[:16]}"

    @property
    def run(self) -> Path:
        """Its copy, without what its ids stand for."""
        return self.folder / "run"

    def whole(self) -> bool:
        """Whether its copy is there and as it was made; one of MLflow has no summary that vouches for the rest."""
        try:
            if (self.run / "summary.json").is_file():
                read_sealed(self.run, "summary.json")
            return digest_of(self.run) == self.digest
        except (OSError, UserError):
            return False


def digest_of(run: Path) -> str:
    """Of a run's weights and settings."""
    return hashlib.sha256(f"{sha256(run / WEIGHTS)} {sha256(run / SETTINGS)}".encode()).hexdigest()
