"""data/raw: the corpus' files as their publisher distributes them, checked by sha256."""

import json
import os
from pathlib import Path

import click

from unrolled.corpus.catalogue import CATALOGUE, facts
from unrolled.corpus.fetch import fetch, mirror_within
from unrolled.corpus.folders import whole_folder
from unrolled.errors import one_line_errors
from unrolled.settings import Settings

RAW = Path("data/raw")


@click.command()
@one_line_errors
def main() -> None:
    """Fetch what params.yaml's corpus.name needs; UNROLLED_MIRROR names a folder or address that holds it."""
    name = Settings.load(Path("params.yaml")).corpus.name
    if files := CATALOGUE[name].files:
        fetch(files, RAW, mirror_within(os.environ.get("DVC_ROOT")))
        return
    with whole_folder(RAW) as folder:
        (folder / "manifest.json").write_text(json.dumps(facts(name)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
