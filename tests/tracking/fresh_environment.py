"""Loads a logged model and scores a text where no packages are seen but those that its requirements bring.

python fresh_environment.py <folder of the model>   prints the folder that the model's code came from, and the tokens.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def brought(requirements: Iterable[str]) -> set[str]:
    """The distributions that pip would install: those required, and all that they require on this platform."""
    waiting, seen = [Requirement(line) for line in requirements], set()
    while waiting:
        requirement = waiting.pop()
        for extra in {"", *requirement.extras}:
            if (key := (canonicalize_name(requirement.name), extra)) in seen:
                continue
            seen.add(key)
            try:
                inner = map(Requirement, requires(requirement.name) or ())
            except PackageNotFoundError:
                continue
            waiting += [each for each in inner if each.marker is None or each.marker.evaluate({"extra": extra})]
    return {name for name, _ in seen}


class NothingElse(MetaPathFinder):
    """Finds no module of any other distribution."""

    def __init__(self, distributions: set[str], owners: Mapping[str, Sequence[str]]) -> None:
        self._distributions, self._owners = distributions, owners

    def find_spec(self, fullname: str, *args: object) -> None:
        owners = {canonicalize_name(each) for each in self._owners.get(fullname.partition(".")[0], ())}
        if owners - {"unrolled"} and not owners & self._distributions:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def main(folder: Path) -> None:
    requirements = (folder / "requirements.txt").read_text(encoding="utf-8").split()
    sys.meta_path.insert(0, NothingElse(brought(requirements), packages_distributions()))
    import mlflow
    import pandas as pd

    scores = mlflow.pyfunc.load_model(str(folder)).predict(pd.DataFrame({"text": ["the cat sat"]}))
    import unrolled

    print(Path(unrolled.__file__).parents[1], *scores["tokens"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
