"""Promise: no code of ours runs what a file contains, outside the one function that says so."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("mmattn", "projects", "custom_ops", "tools")
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
CALLS = {
    "eval", "exec", "compile", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load",
    "torch.load", "torch.jit.load", "torch.hub.load", "torch.hub.load_state_dict_from_url",
    "model_zoo.load_url", "pandas.read_pickle",
}  # fmt: skip
KEYWORDS = {"shell": True, "allow_pickle": True, "weights_only": False}
#: Python configs are code (SECURITY.md), and run again when their settings are traced to lines.
TRACERS = {
    "mmattn/config_tools/running.py": ["run: compile", "run: exec"],
    "mmattn/config_tools/trace.py": ["_read_python: compile", "_read_python: eval"],
}
READER, TRUSTED = "mmattn/io/checkpoint_files.py", "read_trusted_pickle"


def violations(source: str) -> Iterator[str]:
    """What in ``source`` could run code that comes from data, as ``function: what``."""
    aliases = {}

    def visit(node: ast.AST, function: str) -> Iterator[str]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            function = node.name
        if isinstance(node, ast.Import):
            for alias in node.names:
                aliases[alias.asname or alias.name.split(".")[0]] = alias.name
                if alias.name.split(".")[0] in MODULES:
                    yield f"{function}: import {alias.name}"
        if isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                aliases[alias.asname or alias.name] = full
                if (node.module or "").split(".")[0] in MODULES:
                    yield f"{function}: import {full}"
        if isinstance(node, ast.Call):
            first, *rest = ast.unparse(node.func).split(".")
            name = ".".join([aliases.get(first, first), *rest])
            if name in CALLS:
                yield f"{function}: {name}"
            for keyword in node.keywords:
                value = getattr(keyword.value, "value", None)
                if keyword.arg in KEYWORDS and value is KEYWORDS[keyword.arg]:
                    yield f"{function}: {keyword.arg}={value}"
        for child in ast.iter_child_nodes(node):
            yield from visit(child, function)

    yield from visit(ast.parse(source), "<module>")


FILES = sorted(
    {
        file.resolve().relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for file in (ROOT / folder).rglob("*.py")
    }
)


def test_no_file_runs_data() -> None:
    found = {}
    for name in FILES:
        problems = sorted(violations((ROOT / name).read_text(encoding="utf-8")))
        if problems:
            found[name] = problems
    assert found == {
        READER: [
            "_read_torch: torch.load",
            f"{TRUSTED}: torch.load",
            f"{TRUSTED}: weights_only=False",
        ],
        **TRACERS,
    }


def test_only_the_converter_trusts() -> None:
    users = {name for name in FILES if TRUSTED in (ROOT / name).read_text(encoding="utf-8")}
    users -= {READER, "mmattn/io/__init__.py"}
    assert users <= {"mmattn/io/convert.py", "mmattn/cli/convert.py"}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from dill import loads",
        "import torch\ntorch.load('x')",
        "import torch as t\nt.load('x')",
        "from torch import load\nload('x')",
        "from torch import load as read\nread('x')",
        "eval('1')",
        "def f():\n    exec(text)",
        "import yaml\nyaml.load(text)",
        "import subprocess\nsubprocess.run('x', shell=True)",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "read('x', weights_only=False)",
    ],
)
def test_the_test_sees(source: str) -> None:
    assert list(violations(source))


def test_the_test_lets_models_be_evaluated() -> None:
    assert not list(violations("import re\nmodel.eval()\nre.compile('x')\nyaml.safe_load(text)"))
