"""The saved view in a browser: MLflow does not document its format, so only seeing it draw is believing.

UNROLLED_SCREENSHOT=<file.png> keeps the picture.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright
from servers import user_interface

from unrolled.tracking.saved_view import sections

# As Debian, Ubuntu, Google's packages and macOS have them.
NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture
def link(root: Path, warm: str) -> Iterator[str]:
    with user_interface(root, warm) as link:
        yield link


@pytest.mark.skipif(BROWSER is None, reason="no Chromium and no Chrome here")
def test_the_saved_view_draws_every_chart(link: str) -> None:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1600, "height": 4200})  # what is out of sight is not drawn
        page.set_default_timeout(300_000)  # ms; a busy machine draws slowly
        # MLflow opens its assistant beside the charts the first time.
        page.add_init_script("localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')")
        page.goto(link)
        for name, charts in sections("language_model").items():
            page.get_by_text(name).first.wait_for()
            for chart in charts:
                page.get_by_text(chart.metric, exact=True).first.wait_for()
        for arm in ("lstm-clipped-1", "bilstm-unclipped-1"):
            page.get_by_role("link", name=arm, exact=True).first.wait_for()
        page.locator(".js-plotly-plot .bars path").first.wait_for()
        assert page.get_by_text("You're viewing a shared view").count() == 1
        page.goto(link.partition("/#")[0] + "/#/models/unrolled")
        page.get_by_text("champion").first.wait_for()
        page.goto(link)
        if picture := os.environ.get("UNROLLED_SCREENSHOT"):
            page.set_viewport_size({"width": 1600, "height": 1900})
            page.wait_for_timeout(5000)
            page.screenshot(path=picture)
        browser.close()
