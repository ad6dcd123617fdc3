"""Promise: a report opens in a browser, in its light and dark look, as narrow as a telephone."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mmattn.reports.runs import write_training_report
from mmattn.reports.runs.left import read_training

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on this machine")
#: Appended by this test alone: a page has no script.
PROBE = """<script>addEventListener("load", () => { document.title = JSON.stringify([
  document.documentElement.scrollWidth, innerWidth,
  [...document.images].every(i => i.complete && i.naturalWidth > 0),
  getComputedStyle(document.querySelector("main")).backgroundColor]); });</script>"""


def opened(page: Path, width: int, profile: Path, *options: str) -> list[str]:
    """Return the width of the page, that of the window, whether images show, and the ground."""
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={profile}", f"--window-size={width},900", *options, "--dump-dom",
        page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    found = re.search(r"<title>\[(.*?)\]</title>", done.stdout)
    assert found is not None, done.stderr[-2000:]
    return found[1].split(",", 3)


def test_nothing_sticks_out_of_a_narrow_window_and_all_images_show(left_behind, tmp_path) -> None:
    page = write_training_report(read_training(left_behind()))
    page.write_text(page.read_text("utf-8").replace('loading="lazy"', "") + PROBE, "utf-8")
    needed, given, images, ground = opened(page, 400, tmp_path / "light")
    assert int(needed) <= int(given) and images == "true"
    assert "255,255,255" in ground.replace(" ", "")
    dark = "--blink-settings=preferredColorScheme=0"
    assert "255,255,255" not in opened(page, 1300, tmp_path / "dark", dark)[3].replace(" ", "")
