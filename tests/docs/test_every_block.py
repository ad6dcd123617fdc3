"""Promise: command lines of all pages are read by their parsers; blocks run or say why not.

A block of ``bash`` or ``python`` is run by the test of its page (``OWN``), or here: configs are
loaded, other Python is executed and the types that it names are looked up. One that can be neither
has ``<!-- not run: reason -->`` above it.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from mmattn.cli import COMMANDS, RENAMED
from tests.support.code_blocks import CodeBlock, read_code_blocks

ROOT = Path(__file__).resolve().parents[2]
#: Page -> the test that runs its blocks.
OWN = {
    "docs/add_a_block.md": "docs/test_add_a_block.py",
    "docs/compare.md": "docs/test_compare.py",
    "docs/deploy_a_detector.md": "docs/test_deploy_a_detector.py",
    "docs/evaluate_panoptic.md": "docs/test_evaluate_panoptic.py",
    "docs/plugins.md": "docs/test_plugins.py",
    "docs/reports.md": "docs/test_reports.py",
    "docs/resume_and_stop.md": "docs/test_resume_and_stop.py",
    "docs/segmentation.md": "docs/test_segmentation.py",
    "docs/train_a_detector.md": "docs/test_train_a_detector.py",
    "docs/train_on_your_data.md": "docs/test_train_on_your_data.py",
    "docs/walkthrough.md": "docs/test_walkthrough.py",
}
#: Written out of the parsers' examples, each of which ``test_commands_page`` reads.
GENERATED = {"docs/commands.md"}
#: Pages that tell what was run to measure, and at which commit.
RECORDS = ("docs/results/", "benchmarks/results/")
#: Folders of runs that the pages speak of.
RUNS = (
    *("work_dirs/NAME", "work_dirs/ccnet", "work_dirs/my_run", "work_dirs/mine"),
    *("runs/segmentor", "runs/detector"),
)
MARK = re.compile(r"<!-- not run: [^>]{8,} -->")
#: What may stand before ``mmattn`` on a line: variables, a loop, a launcher with its options.
BEFORE = re.compile(
    r"^(?:source <\(|(?:srun .*|torchrun .*) -m |.*?; do |(?:[A-Z_0-9]+=\S* )+)?(mmattn .*)$"
)
SPAN = re.compile(r"`mmattn ([a-z][a-z_-]*(?: [^`\n]+)?)`")


@cache
def pages() -> tuple[str, ...]:
    outside = (*ROOT.glob("*.md"), *ROOT.glob("projects/**/*.md"), *ROOT.glob("custom_ops/*.md"))
    every = (*ROOT.glob("docs/**/*.md"), *outside, *ROOT.glob("benchmarks/results/*.md"))
    names = (page.relative_to(ROOT).as_posix() for page in every)
    return tuple(sorted(name for name in names if name != "CHANGELOG.md"))


@cache
def blocks() -> tuple[tuple[str, CodeBlock], ...]:
    return tuple((page, block) for page in pages() for block in read_code_blocks(ROOT / page))


def commands(block: CodeBlock) -> Iterator[str]:
    """Yield the lines of a block that call ``mmattn``, without what stands before or behind it."""
    for line in block.commands:
        found = BEFORE.match(line.strip())
        if found:
            text = re.sub(r"(mmattn completion \w+)\)", r"\1", found[1])
            words = shlex.split(text, comments=True)
            for end in ("&&", "|", ">", ";", "||"):
                words = words[: words.index(end)] if end in words else words
            yield shlex.join(words)


COMMAND_LINES = sorted(
    {(page, line) for page, block in blocks() if block.language == "bash"
     for line in commands(block)}
)  # fmt: skip


def parse(words: list[str]) -> None:
    name = words[0].replace("-", "_")
    assert name in COMMANDS, f"mmattn has no command {words[0]}"
    importlib.import_module(f"mmattn.cli.{name}").parse_args(words[1:], f"mmattn {name}")


def test_command_lines_are_read_by_their_parsers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in RUNS:  # a run of its own is told from a config by what is in it
        (tmp_path / name / "20260101_000000/vis_data").mkdir(parents=True)
        (tmp_path / name / f"{Path(name).name}.py").touch()
    monkeypatch.chdir(tmp_path)
    assert len(COMMAND_LINES) > 80
    wrong = []
    for page, line in COMMAND_LINES:
        try:
            parse(shlex.split(line)[1:])
        except (SystemExit, AssertionError) as error:
            wrong.append(f"{page}: {line}: {capsys.readouterr().err[-200:] or error}")
    assert not wrong, "\n".join(wrong)


def test_a_wrong_command_line_is_found() -> None:
    with pytest.raises(SystemExit), contextlib.redirect_stderr(io.StringIO()):
        parse(["train", "a.py", "--no-such-option"])


@cache
def options(*words: str) -> frozenset[str]:
    """Return the options that the help of a command names."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        parse([*words, "--help"])
    return frozenset(re.findall(r"--[a-z][a-z-]*", shown.getvalue()))


def test_commands_in_the_text_exist_and_have_their_options() -> None:
    wrong, seen = [], 0
    for page in pages():
        for span in SPAN.findall((ROOT / page).read_text("utf-8")):
            name, *rest = span.split()
            name, seen = name.replace("-", "_"), seen + 1
            if name not in COMMANDS:
                wrong.append(f"{page}: mmattn {span}" if name not in RENAMED else "")
                continue
            group = rest[:1] if name in ("config", "data", "weights") and rest else []
            group = group if group and re.fullmatch("[a-z]+", group[0]) else []
            asked = {word.split("=")[0] for word in rest if word.startswith("--")}
            if asked - options(name, *group):
                wrong.append(f"{page}: mmattn {span}")
    assert seen > 80
    assert not [line for line in wrong if line]


def marked(page: str, block: CodeBlock) -> bool:
    """Whether the line above the fence, or the one above an empty line there, says why."""
    lines = (ROOT / page).read_text("utf-8").splitlines()[: block.line - 2]
    above = next((line for line in reversed(lines) if line.strip()), "")
    return bool(MARK.fullmatch(above.strip()))


def test_blocks_that_nothing_runs_say_why() -> None:
    silent = [
        f"{page}:{block.line}"
        for page, block in blocks()
        if block.language == "bash" and not marked(page, block)
        if page not in {*OWN, *GENERATED} and not page.startswith(RECORDS)
    ]
    assert not silent, "no test runs them: put <!-- not run: reason --> above"


def test_the_tests_of_pages_read_their_blocks() -> None:
    for page, test in OWN.items():
        source = (ROOT / "tests" / test).read_text("utf-8")
        assert Path(page).name in source and "read_code_blocks" in source, test


PYTHON = [
    pytest.param(page, block, id=f"{page}:{block.line}")
    for page, block in blocks()
    if block.language == "python" and page not in OWN and not marked(page, block)
]


@pytest.mark.parametrize(("page", "block"), PYTHON)
def test_python_runs(page: str, block: CodeBlock, tmp_path: Path) -> None:
    if "_base_" in block.code:
        from mmattn.config import load_config

        (tmp_path / "config.py").write_text(block.code)
        found: object = load_config(tmp_path / "config.py").to_dict()
    else:
        names: dict[str, object] = {}
        exec(compile(block.code, f"{page}:{block.line}", "exec"), names)
        found = {key: value for key, value in names.items() if key != "__builtins__"}
    unknown = {name for name in types(found) if not registered(name)}
    assert not unknown, "no registry has them"


def types(value: object) -> Iterator[str]:
    """Yield every ``type`` of a config that names its scope."""
    if isinstance(value, dict):
        name = value.get("type")
        if isinstance(name, str) and re.match(r"(mmattn|mmdet|mmseg)\.", name):
            yield name
        for one in value.values():
            yield from types(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from types(one)


@cache
def registered(name: str) -> bool:
    """Whether a registry has a name; the registries import what they need, when they are asked."""
    import mmengine.registry as roots

    importlib.import_module(f"{name.partition('.')[0]}.registry")
    every = [value for value in vars(roots).values() if isinstance(value, roots.Registry)]
    # Most are models; others are asked only where a name is not one.
    return any(registry.get(name) for registry in (roots.MODELS, *every))
