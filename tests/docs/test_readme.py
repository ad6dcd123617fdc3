"""The README: its config builds, its commands parse, its links and figures are there."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[2] / "README.md"
TEXT = README.read_text(encoding="utf-8")
PAGES = [README, *(README.parent / "docs" / name for name in ("install.md", "operators.md"))]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("mmattn ")]


@pytest.mark.parametrize("words", commands(), ids=lambda words: words[1])
def test_commands_are_read_by_their_parsers(words: list[str], tmp_path: Path, monkeypatch) -> None:
    run = tmp_path / "work_dirs/NAME"
    (run / "20260101_000000/vis_data").mkdir(parents=True)
    (run / "NAME.py").touch()
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(f"mmattn.cli.{words[1]}")
    module.parse_args(words[2:])


def test_configs_that_the_commands_name_exist() -> None:
    from mmattn.config import find_config

    named = [word for words in commands() for word in words if "::" in word]
    assert named
    for name in named:
        find_config(name)


def test_the_block_is_in_the_network(tmp_path: Path) -> None:
    from mmattn.config import load_config
    from mmattn.inference import build_model

    (source,) = blocks("python")
    (tmp_path / "config.py").write_text(source)
    model = build_model(load_config(tmp_path / "config.py"))
    stages = {name.split(".")[1] for name, m in model.named_modules() if type(m).__name__ == "CBAM"}
    assert stages == {"layer2", "layer3", "layer4"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text)
    for target in (a or b for a, b in targets):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {slug(head) for head in heads}, target


def slug(head: str) -> str:
    """Return GitHub's anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-")


def test_the_first_screen_is_short() -> None:
    """What mmattn is, how to start it and four examples come before anything else."""
    first = re.sub(r"^<!--.*-->\n", "", TEXT.split("## What is here")[0], flags=re.MULTILINE)
    assert len(first.splitlines()) <= 50


def test_commands_are_spelt_in_one_way() -> None:
    """``mmattn COMMAND`` everywhere; that tools/*.py are the same is told once, in install.md."""
    from mmattn.cli import COMMANDS, RENAMED

    root = README.parent
    tool = re.compile(rf"(?<!\w)tools/({'|'.join((*COMMANDS, *RENAMED))})\.py")
    folders = ("docs", "projects", "configs", "mmattn/cli", "custom_ops")
    files = [README, *(f for folder in folders for f in (root / folder).rglob("*.*"))]
    files.remove(root / "docs/migrate.md")  # names what was called otherwise
    texts = {f: f.read_text("utf-8") for f in files if f.suffix in (".md", ".py", ".yml")}
    assert not [str(f) for f, text in texts.items() if tool.search(text)]


def test_what_the_commands_name_is_a_run_or_written_by_the_reader() -> None:
    named = {word for words in commands() for word in words if word.endswith((".py", ".pth"))}
    assert {name for name in named if "::" not in name} == {"my_segmentor.py"}
    folders = {word for words in commands() for word in words if word.startswith("work_dirs")}
    assert folders == {"work_dirs/NAME"}


def test_names_of_models_that_the_commands_give_exist() -> None:
    from mmattn.config import find_config

    trained = [words[2] for words in commands() if words[1] == "train"]
    assert {"ccnet", "yolov12-n"} <= set(trained)
    for name in trained:
        find_config(name)


def test_the_chinese_readme_has_the_same_code_and_links() -> None:
    """Its words are Chinese, the comments in its code too."""
    chinese = README.with_name("README.zh-CN.md").read_text(encoding="utf-8")
    fences = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
    code = [[(kind, re.sub(r"\s*# .*", "", text)) for kind, text in fences.findall(page)]
            for page in (TEXT, chinese)]  # fmt: skip
    assert code[0] == code[1]
    links = [set(re.findall(r"\]\(([^)\s]+)\)", page)) for page in (TEXT, chinese)]
    assert links[0] - {"README.zh-CN.md"} == links[1] - {"README.md"}
    numbers = [re.findall(r"\d+\.\d+|\d{3,}", fences.sub("", page)) for page in (TEXT, chinese)]
    assert sorted(numbers[0]) == sorted(numbers[1]), "the same figures"
