"""Promise: docs/add_a_block.md works as it stands; what is run here is the code that it shows."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mmattn.testing import plugin
from tests.support.code_blocks import CodeBlock, read_code_blocks

GUIDE = Path(__file__).resolve().parents[2] / "docs/add_a_block.md"
BLOCKS = read_code_blocks(GUIDE)
SNIPPETS = [b for b in BLOCKS if b.heading == "4. Use it anywhere"]


def write_files(root: Path, wanted: Callable[[str], bool]) -> None:
    """Write the guide's files below ``root``."""
    for block in BLOCKS:
        if block.file is not None and wanted(block.file):
            file = root / block.file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.code)


def run(command: list[str], cwd: Path, **environment: str) -> str:
    """Output of a command, run by the interpreter that runs this test."""
    programs = {"python": [sys.executable], "mmattn": [sys.executable, "-m", "mmattn"]}
    command = [*programs.get(command[0], command[:1]), *command[1:]]
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def checkout(checkout_with: Callable[..., Path]) -> Path:
    """Make a checkout with the guide's files in it."""
    named = [block for block in BLOCKS if block.file is not None]
    return checkout_with(
        {block.file: block.code for block in named if not block.appended},
        {block.file: block.code for block in named if block.appended},
    )


def commands(heading: str) -> list[list[str]]:
    found = [block for block in BLOCKS if block.heading == heading and block.language == "bash"]
    return [shlex.split(command) for block in found for command in block.commands]


def test_the_steps_are_one_file_one_line_and_one_test_class() -> None:
    steps = [block for block in BLOCKS if block.file and "contrast_gate" in block.code + block.file]
    block, line, test = steps[:3]
    assert (block.file, block.code.count("class ")) == ("projects/blocks/contrast_gate.py", 1)
    assert line.appended
    assert line.file == "projects/_register.py"
    assert line.code.count("\n") == 1
    assert test.code.count("class ") == 1


@pytest.mark.slow
def test_the_block_passes_its_tests(checkout: Path) -> None:
    (command,) = commands("3. One test class")
    out = run(command, checkout, PYTHONPATH=str(checkout))
    assert " passed" in out


class PlaceGate(nn.Module):
    """A block of positions alone, whose author saw no use for the number of channels."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)


class SilentGate(PlaceGate):
    def __init__(self, in_channels: int):
        if in_channels < 1:
            raise ValueError("no channels")
        super().__init__(in_channels)


@pytest.mark.parametrize(
    ("block", "found"), [(PlaceGate, r"PlaceGate\(0\) is built"), (SilentGate, "no channels")]
)
def test_a_number_of_channels_below_one_has_to_be_refused_and_named(
    block: type[nn.Module], found: str
) -> None:
    class Tester(plugin.PluginTester):
        module = block

    said = f"{block.__name__}.__init__ must raise ValueError naming in_channels .*{found}"
    with pytest.raises((AssertionError, pytest.fail.Exception), match=said):
        Tester().test_names_a_wrong_number_of_channels()
    assert "- `in_channels` below 1 is a `ValueError`" in GUIDE.read_text("utf-8")


class LoudGate(nn.Module):
    """A block whose attention maps are wrong in one way: ``attention_maps`` returns ``maps``."""

    maps: Callable[[Tensor], Tensor]

    def __init__(self, in_channels: int):
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x / 2

    def attention_maps(self, x: Tensor) -> dict[str, Tensor]:
        return {"gate": type(self).maps(x)}


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (lambda x: x.new_full((1, 1, 1, 1), 0.5), "gate: shape"),
        (lambda x: x.new_full((*x.shape[:2], 3, 3), 0.5), "gate: shape"),
        (lambda x: x.new_full((2, 5, 1, 1), 0.5), "no gate has 5"),
        (lambda x: torch.full_like(x, 2.0), r"leaves \[0, 1\]"),
        (lambda x: torch.full_like(x, torch.nan), r"leaves \[0, 1\]"),
        (lambda x: torch.full_like(x, 0.5).half(), "gate: torch.float16"),
        (lambda x: torch.full_like(x, 0.4), "not close"),
        (lambda x: torch.full_like(x, 0.5), None),
    ],
)
def test_wrong_attention_maps_are_found(
    maps: Callable[[Tensor], Tensor], message: str | None
) -> None:
    class Tester(plugin.PluginTester):
        module = type("Gate", (LoudGate,), {"maps": staticmethod(maps)})
        output_is_gated_input = True

    def run_them() -> None:
        Tester().test_attention_maps_fit_the_input((5, 7))
        Tester().test_attention_maps_are_what_scales_the_input()

    if message is None:
        run_them()
    else:
        with pytest.raises(AssertionError, match=message):
            run_them()


@pytest.mark.slow
def test_a_wrong_block_fails_them(checkout: Path, tmp_path: Path) -> None:
    """The command above tests the guide's own file, and its tests can fail."""
    file = checkout / "projects/blocks/contrast_gate.py"
    right = file.read_text()
    wrong = right.replace("correction=0", "correction=1")
    assert wrong != right
    file.write_text(wrong)
    try:
        (command,) = commands("3. One test class")
        with pytest.raises(AssertionError, match=r"FAILED.*reference"):
            run([*command, "-k", "reference"], checkout, PYTHONPATH=str(checkout))
    finally:
        file.write_text(right)


@pytest.fixture(scope="module")
def own_package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The way without touching this repository: a folder with the package and the config."""
    from mmattn.registry import MODELS

    root = tmp_path_factory.mktemp("own")
    write_files(root, lambda name: name.startswith("my_"))
    block = next(block for block in BLOCKS if block.file == "projects/blocks/contrast_gate.py")
    (root / "my_blocks/contrast_gate.py").write_text(block.code)
    sys.path.insert(0, str(root))
    yield root
    sys.path.remove(str(root))
    MODELS.module_dict.pop("ContrastGate", None)
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_blocks"]:
        del sys.modules[name]


def gates(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if type(module).__name__ == "ContrastGate"]


def build(snippet: CodeBlock) -> tuple[str, nn.Module]:
    """(``backbone``, ``neck`` or ``decode_head``, what it builds), with the same weights always."""
    from mmengine.config import Config

    from mmattn.registry import MODELS

    __import__("my_blocks")
    torch.manual_seed(0)
    ((name, part),) = Config.fromstring(snippet.code, ".py").items()
    return name, MODELS.build(part)


def example(name: str) -> Tensor | list[Tensor]:
    """An image for a backbone, maps of stride 4 to 32 for the others."""
    torch.manual_seed(1)
    if name == "backbone":
        return torch.randn(2, 3, 64, 96)
    return [torch.randn(2, 64 << i, 16 >> i, 24 >> i) for i in range(4)]


def run_once(name: str, model: nn.Module) -> list[Tensor]:
    model.eval()  # mmdet's networks return None
    with torch.no_grad():
        y = model(example(name))
    return list(y) if isinstance(y, (tuple, list)) else [y]


def test_a_package_of_ones_own(own_package: Path) -> None:
    from mmattn.config import load_config
    from mmattn.inference import build_model

    model = build_model(load_config(own_package / "my_config.py"))
    assert [type(gate).__module__ for gate in gates(model)] == ["my_blocks.contrast_gate"] * 4
    logits = model(torch.randn(1, 3, 64, 96), mode="tensor")
    assert logits.shape == (1, 19, 2, 3)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=[f"line{b.line}" for b in SNIPPETS])
def test_it_works_anywhere(snippet: CodeBlock, own_package: Path) -> None:
    """The block is there, it is called, and what follows depends on it."""
    name, model = build(snippet)
    found = gates(model)
    assert found
    fresh = run_once(name, model)
    for gate in found:
        torch.nn.init.ones_(gate.weight)
    changed = run_once(name, model)
    assert all(y.isfinite().all() for y in changed)
    assert not all(torch.equal(a, b) for a, b in zip(fresh, changed, strict=True))


def test_the_places_are_those_that_the_guide_promises() -> None:
    text = "\n".join(snippet.code for snippet in SNIPPETS)
    for place in ("mmdet.ResNet", "mmdet.SwinTransformer", "TimmBackbone", "mmdet.FPN", "FCNHead"):
        assert place in text


@pytest.mark.slow
def test_the_commands_run(checkout: Path) -> None:
    """Generated images, comparison, training and export, as the guide says."""
    for heading in ("5. Compare it", "6. Train and export it"):
        for command in commands(heading):
            run(command, checkout, PYTHONPATH=str(checkout))
    work = checkout / "work_dirs/block"
    report = (work / "compare/report.md").read_text()
    for variant in ("none", "SE", "ContrastGate"):
        assert f"| {variant} " in report
    assert (work / "contrast.onnx").stat().st_size > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the exporter's own deprecations
@pytest.mark.parametrize("snippet", SNIPPETS, ids=[f"line{b.line}" for b in SNIPPETS])
def test_it_is_exported_from_anywhere(
    snippet: CodeBlock, own_package: Path, tmp_path: Path
) -> None:
    """The file of the whole part, block included, computes in onnxruntime what torch does."""
    from onnxruntime import InferenceSession

    name, model = build(snippet)
    for gate in gates(model):
        torch.nn.init.normal_(gate.weight)
    inputs = example(name)
    expected = run_once(name, model)
    torch.onnx.export(model, (inputs,), tmp_path / "part.onnx", dynamo=True, verbose=False)
    session = InferenceSession(tmp_path / "part.onnx")
    given = [inputs] if isinstance(inputs, Tensor) else inputs
    feed = {i.name: x.numpy() for i, x in zip(session.get_inputs(), given, strict=True)}
    for y, wanted in zip(session.run(None, feed), expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(y), wanted, rtol=1e-3, atol=1e-3)
