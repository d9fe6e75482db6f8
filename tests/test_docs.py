"""The site that `make docs` makes: every page in it, every link within it, every public name with what it says."""

import os
import subprocess
import sys
from pathlib import Path

import unrolled

ROOT = Path(__file__).parents[1]


def test_the_site_is_built_without_a_warning_and_has_every_name(tmp_path: Path) -> None:
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs", "-d", tmp_path / "kept", ".", site],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": "src"}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    reference = (site / "docs" / "reference.html").read_text()
    assert all(f'id="unrolled.{name}"' in reference for name in unrolled.__all__)
    start = (site / "docs" / "index.html").read_text()
    pages = [path for place in ("docs", "pipelines/*") for path in ROOT.glob(f"{place}/*.md")]
    assert len(pages) > 15
    for page in pages:
        if page.name != "index.md":
            assert os.path.relpath(page.relative_to(ROOT).with_suffix(".html"), "docs") in start
