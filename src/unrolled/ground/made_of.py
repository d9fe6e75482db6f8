"""What a result was made of: digests and settings that it states, compared by every reader before it computes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unrolled.ground.checksums import stage_of
from unrolled.shell.errors import UserError

# What a result may state, and how it is said that there is another now.
DIFFERENCES = {
    "corpus": "from another corpus than data/encoded now holds",
    "run": "from another training of this arm than runs/ now holds",
    "baselines": "beside other baselines than there are now",
    "evaluation": "from another evaluation of this arm than there is now",
    "probes": "from other arms, or other probes of these, than there are now",
    "settings": "with other settings than params.yaml now states",
}


def check_made_of(directory: Path, stated: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """UserError where the result in ``directory`` states that it was made of something else than there is ``now``.

    Both by the names of DIFFERENCES: the settings whole, of all others the digest.
    """
    for name, what in now.items():
        if stated.get(name) != what:
            mend = f"bring it up to date with: dvc repro {stage_of(directory)}"
            raise UserError(f"{directory} was made {DIFFERENCES[name]}; {mend}")
