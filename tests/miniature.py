"""The project made tiny: its arms, a text with something to learn, a corpus of it, and a workspace for its stages."""

import copy
import importlib.util
import os
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vl_convert
from click.testing import CliRunner
from ruamel.yaml import YAML

from unrolled.corpus.encode import encode_corpus
from unrolled.corpus.files.text_files import Document
from unrolled.corpus.splits import write_splits
from unrolled.ground.corpus import Corpus, Split, Text, Tokens
from unrolled.settings.loader import Params, load_params
from unrolled.settings.resolve import resolve

ROOT = Path(__file__).parents[1]
TYPES = 20
SIZES = {"vocabulary": TYPES}
TINY = {"embedding": 6, "hidden": 6, "epochs": 1, "columns": 4, "window": 8, "learning_rate": 1.0}


@cache
def _params() -> Params:
    return load_params(ROOT / "params.yaml")


def whole_arm(name: str, **changes: Any) -> dict[str, Any]:
    """The resolved settings of an arm of the project, with some keys of its network and training exchanged."""
    arm = copy.deepcopy(_params().arms[name])
    for key, value in changes.items():
        section = "network" if key in arm["network"] else "train"
        assert key in arm[section], key
        arm[section][key] = value
    return arm


def arm_of(name: str, **changes: Any) -> dict[str, Any]:
    """The same, tiny."""
    return whole_arm(name, **(TINY | changes))


def section_of(name: str, **changes: Any) -> dict[str, Any]:
    """A section of the project's params.yaml, some of its keys exchanged."""
    return copy.deepcopy(_params().sections[name]) | changes


def text_of(length: int, *, seed: int = 0, types: int = TYPES) -> Tokens:
    """Every token is its predecessor plus 0, 1 or 2."""
    return (np.cumsum(np.random.default_rng(seed).integers(0, 3, length)) % types).astype(np.uint16)


def split_of(tokens: Tokens, *documents: int) -> Split:
    """``documents``: at which token each one begins; one if none is given."""
    return Split(tokens, np.array(documents or [0], dtype=np.int64))


def corpus_of(train: Split, valid: Split, test: Split, types: int = TYPES) -> Corpus:
    """As `read_corpus` gives it; every token stands for three characters, and is written as four bytes."""
    splits = {"train": train, "valid": valid, "test": test}
    return Corpus(
        **splits,
        counts=np.bincount(train.tokens, minlength=types),
        texts={name: Text(3 * len(each.tokens), 4 * len(each.tokens), 0, 0.0) for name, each in splits.items()},
        digest="corpus",
    )


def made_of(settings: dict[str, Any], corpus: str = "corpus", run: Any = None, **baselines: Any) -> dict[str, Any]:
    """What an evaluation states, of an arm or, without a run, of a baseline; ``settings``: the section evaluate."""
    stated = {"corpus": corpus, "settings": settings}
    of_arm = {"baselines": {name: each.digest for name, each in baselines.items()}}
    return stated | (of_arm | {"run": run.digest} if run else {})


def lay_out(place: Path, **changes: Any) -> None:
    """A workspace in which every arm of the project can be trained, with some keys of the shared network and training.

    Sixty documents of four words each, of the user's own.
    """
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    for key, value in (TINY | changes).items():
        params["network" if key in params["network"] else "train"][key] = value
    params["corpus"] |= {"name": "text", "path": "text"}
    params["evaluate"] |= {"bootstrap_samples": 20}
    params["probe"] |= {"contexts": [1, 3], "positions": 30, "lyapunov_steps": 20}
    yaml.dump(params, place / "params.yaml")
    resolve(place / "params.yaml", place / "resolved")
    documents = [Document(f"{index}.txt", lambda index=index: iter([f"a b c {index}"])) for index in range(60)]
    write_splits(
        documents,
        place / "data/text",
        valid_share=0.2,
        test_share=0.2,
        seed=1,
        facts={"corpus": "text", "settings": dict(params["corpus"])},
    )
    encode_corpus(
        place / "data/text", place / "data/encoded", place / "data/corpus.json",
        unit="word", lowercase=True, min_count=1, max_size=None,
    )  # fmt: skip


def run_stage(name: str, *arguments: str) -> str:
    """Run a stage in this process and the working directory, which spares it a start of its own; what it said."""
    spec = importlib.util.spec_from_file_location(f"stage_{name}", ROOT / "stages" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    result = CliRunner().invoke(module.main, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def compare_drawing_svg_alone() -> None:
    """The stage `compare` in the working directory; a png is of the svg, takes as long again, and is empty."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vl_convert, "svg_to_png", lambda svg, **options: b"")
        run_stage("compare")


def run_pipeline(
    place: Path, pipeline: str, changes: dict[str, dict[str, Any]], cell: str, baselines: Iterable[str]
) -> None:
    """The stages of a pipeline in ``place``, but for record, with one arm alone; ``changes`` of params, by section."""
    params = YAML(typ="safe", pure=True).load((ROOT / "pipelines" / pipeline / "params.yaml").read_text("utf-8"))
    for section, keys in changes.items():
        params[section] |= keys
    params |= {"arch": {cell: {"cell": cell}}, "clipping": {"clipped": {"clip_norm": 1.0}}}
    with (place / "params.yaml").open("w") as file:
        YAML(typ="safe", pure=True).dump(params, file)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for name in ("resolve", "fetch", "preprocess", "vocabulary"):
            run_stage(name)
        for baseline in baselines:
            run_stage("baseline", baseline)
        for name in ("train", "evaluate", "probe"):
            run_stage(name, f"{cell}-clipped")
        compare_drawing_svg_alone()


def environment(**changes: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT / "src")} | changes
