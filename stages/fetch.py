"""data/raw: the corpus' files as their publisher distributes them, checked by sha256."""

import json
import os
from pathlib import Path

import click

from unrolled.corpus.fetch import fetch, mirror_within
from unrolled.corpus.of_task import data_of
from unrolled.ground.atomic import whole_folder
from unrolled.ground.resolved import read_resolved
from unrolled.shell.stage import stage

RAW = Path("data/raw")


@click.command()
@stage
def main() -> None:
    """Fetch what the corpus needs; UNROLLED_MIRROR names a folder or address that holds it."""
    settings = read_resolved("fetch")
    data, name = data_of(settings["task"]), settings["corpus"]["name"]
    if files := data.CATALOGUE[name].files:
        fetch(files, RAW, mirror_within(os.environ.get("DVC_ROOT")))
        return
    with whole_folder(RAW) as folder:
        (folder / "manifest.json").write_text(json.dumps(data.facts(name)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
