"""Promise: every page is in the navigation of the site, links hold, and `make docs` works."""

from __future__ import annotations

import html
import importlib.util
import os
import re
import subprocess
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest
import yaml

from tests.docs.test_readme import slug

ROOT = Path(__file__).resolve().parents[2]
CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
FENCE = re.compile(r"^ *(`{3,}).*?^ *\1 *$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def navigation() -> ModuleType:
    spec = importlib.util.spec_from_file_location("navigation", ROOT / "docs/_site/navigation.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_in_the_navigation_once(navigation: ModuleType) -> None:
    named = navigation.named(navigation.expand(CONFIG["nav"]))
    assert len(named) == len(set(named))
    assert {page for page in named if not page.startswith("api/")} == set(navigation.pages())


def test_patterns_leave_out_what_is_named(navigation: ModuleType) -> None:
    nav = [{"Blocks": ["blocks/README.md", "blocks/*.md"]}, {"One": "blocks/CBAM.md"}]
    (blocks,) = (entry["Blocks"] for entry in navigation.expand(nav) if "Blocks" in entry)
    assert blocks[0] == "blocks/README.md" and blocks.count("blocks/README.md") == 1
    assert "blocks/ECA.md" in blocks and "blocks/CBAM.md" not in blocks


def test_links_of_every_page_lead_somewhere(navigation: ModuleType) -> None:
    wrong = []
    for path in navigation.pages().values():
        page = ROOT / path
        text = FENCE.sub("", page.read_text("utf-8"))
        for link in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text):
            name, _, anchor = unquote("".join(link)).partition("#")
            if re.match(r"[a-z]+:", name):
                continue
            target = page.parent / name if name else page
            if not target.exists() or (anchor and anchor not in anchors(target)):
                wrong.append(f"{path}: {''.join(link)}")
    assert not wrong


def anchors(file: Path) -> set[str]:
    """Return GitHub's anchors of a file; a heading that is there twice has a number as well."""
    found: set[str] = set()
    for head in re.findall(r"^#+ (.*)$", FENCE.sub("", file.read_text("utf-8")), re.MULTILINE):
        name = slug(re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", head))
        found.add(next(n for n in (name, *(f"{name}-{i}" for i in range(1, 99))) if n not in found))
    return found


@pytest.mark.slow
def test_the_site_is_built(tmp_path: Path) -> None:
    """The command of `make docs`; it is strict, so a warning fails."""
    mkdocs = ROOT / ".venv-docs/bin/mkdocs"
    if not mkdocs.is_file():
        pytest.skip("needs the environment that `make docs` sets up")
    done = subprocess.run(
        [mkdocs, "build", "--strict", "--site-dir", tmp_path], cwd=ROOT,
        capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'src="docs/' not in (tmp_path / "index.html").read_text("utf-8")
    shown = html.unescape((tmp_path / "api/mmattn.inference.html").read_text("utf-8"))
    assert "build_model" in shown and "Build <code>cfg.model</code>" in shown
    assert (tmp_path / "projects/ccnet/index.html").is_file()
