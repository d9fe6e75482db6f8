"""resolved/: params.yaml as the stages read it, a file for each kind of stage and one for each arm.

    resolved/
      fetch.json, preprocess.json, vocabulary.json    which corpus, how it is split and encoded
      arms/<arm>.json                                 what the arm is trained with
      evaluate.json, probe.json                       how all arms are scored and probed
      grid.json                                       the arms there are
      params.json                                     the digests of the params.yaml that all this was made from, and of
                                                      all the files above

A stage depends on its file alone, so that an edit runs again what it changes and nothing else.
"""

from pathlib import Path
from typing import Any

from unrolled.ground.atomic import whole_folder
from unrolled.ground.resolved import digest_of_params, write_resolved
from unrolled.settings.loader import PARAMS, load_params
from unrolled.settings.own_path import check_path
from unrolled.settings.start import pinned
from unrolled.settings.stated import OF_ENCODING, stated


def resolve(path: Path = PARAMS, folder: Path = Path("resolved")) -> None:
    """Validate params.yaml and write the folder, whole or not at all; UserError as ``load_params``."""
    params = load_params(path)
    sections, corpus = params.sections, stated(params.sections["corpus"])
    name = {"name": corpus["name"]}
    encoded = {key: corpus[key] for key in OF_ENCODING if key in corpus}
    files: dict[str, dict[str, Any]] = {
        "fetch": {"task": params.task, "corpus": name},
        "preprocess": {"task": params.task, "corpus": corpus},
        "vocabulary": {"task": params.task, "corpus": encoded, "vocabulary": sections["vocabulary"]},
        "evaluate": {"task": params.task, "evaluate": sections["evaluate"]},
        "probe": {"task": params.task, "evaluate": sections["evaluate"], "probe": sections["probe"]},
        "grid": {
            "task": params.task,
            "arms": [
                {key: arm[key] for key in ("arm", "arch", "clipping")} | {"seed": arm["train"]["seed"]}
                for arm in params.arms.values()
            ],
        },
        **{f"arms/{name}": arm for name, arm in pinned(params.arms).items()},
    }
    check_path(corpus.get("path"))
    with whole_folder(folder) as place:
        digests = {file: write_resolved(file, content, place) for file, content in files.items()}
        write_resolved("params", {"digest": digest_of_params(path), "files": digests}, place)
