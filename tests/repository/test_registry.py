"""The promises of the registry: our names work everywhere, and importing mmattn costs nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "projects"
REGISTER = FOLDER / "_register.py"
BLOCKS = sorted(p.stem for p in FOLDER.glob("blocks/*.py") if p.stem != "__init__")
# A system is a folder, a drop-in block or its converter a file in blocks/.
PLUGINS = [f"blocks.{name}" for name in BLOCKS] + sorted(
    p.parent.name for p in FOLDER.glob("*/__init__.py") if p.parent.name != "blocks"
)


def run(code: str) -> str:
    """Return the output of ``code`` in a fresh interpreter that starts outside the checkout."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_mmattn_is_light() -> None:
    heavy = "{'torch', 'numpy', 'mmengine', 'mmcv', 'cv2', 'rich', 'matplotlib'}"
    out = run(f"import sys, mmattn; print(sorted({heavy} & set(sys.modules)))")
    assert out.strip() == "[]"


def test_import_of_projects_and_of_the_registries_is_light() -> None:
    """mmengine swallows an ImportError of mmattn.registry, so it must not need more."""
    out = run(
        "import sys, mmattn.projects, mmattn.projects.blocks, mmattn.registry\n"
        "print('torch' in sys.modules)\n"
        "print(sorted(m for m in sys.modules if m.startswith('mmattn.') and 'bridge' not in m))\n"
    )
    torch, ours = out.splitlines()
    assert torch == "False"
    assert ours == str(
        [
            f"mmattn.{m}"
            for m in ("errors", "plugin_imports", "projects", "projects.blocks", "registry")
        ]
    )


def test_a_block_brings_torch_and_mmengine_only() -> None:
    """Measured for SimAM: 3.7 s of CPU time, of which torch takes 1.7; all of mmattn took 5.8."""
    heavy = "mmdet mmseg mmcv timm cv2 torchvision scipy matplotlib pandas onnx"
    out = run(
        "import importlib, sys\n"
        f"for name in {BLOCKS}:\n"
        "    importlib.import_module('mmattn.projects.blocks.' + name)\n"
        f"print(sorted(set({heavy!r}.split()) & set(sys.modules)))\n"
        "print(sorted(m for m in sys.modules if m.startswith('mmattn.projects.')))\n"
    )
    brought, projects = out.splitlines()
    assert brought == "[]"
    assert projects == str(
        sorted([f"mmattn.projects.blocks.{m}" for m in BLOCKS] + ["mmattn.projects.blocks"])
    )


def test_names_resolve_with_nothing_of_ours_imported() -> None:
    """mmengine finds scope ``mmattn`` by itself, from its root and from a sibling scope."""
    out = run(
        "from mmengine.registry import MODELS, DefaultScope\n"
        "print(MODELS.get('mmattn.CCHead').__name__)\n"
        "from mmdet.registry import MODELS as DET\n"
        "from mmseg.registry import MODELS as SEG\n"
        "print(DET.get('mmattn.CrissCrossAttention') is SEG.get('mmattn.CrissCrossAttention'))\n"
    )
    assert out.split() == ["CCHead", "True"]


# Prints, for every plugin, which plugins are loaded once it is imported by itself, and which once
# all others are registered. Each import happens in a fork of a process in which nothing of ours but
# the registry, and all that is slow to import, has been loaded.
_ALONE_AND_WITHOUT = """
import importlib, json, os, sys
import mmattn.projects, mmattn.registry, mmdet.models, mmseg.models
from mmattn.plugin_imports import import_failures, import_plugin

plugins = {plugins!r}
assert not any(m.startswith(("mmattn.projects.", "mmattn.layers")) for m in sys.modules)


def loaded(names):
    read, write = os.pipe()
    if os.fork():
        os.close(write)
        with open(read) as answer:
            return json.load(answer)
    try:
        for name in names:
            import_plugin("mmattn.projects." + name)
        inside = [p for p in plugins if "mmattn.projects." + p in sys.modules]
        inside += map(str, import_failures())
    except Exception as error:
        inside = repr(error)
    with open(write, "w") as answer:
        json.dump(inside, answer)
    os._exit(0)


alone = {{p: loaded([p]) for p in plugins}}
without = {{
    p: loaded([other for other in plugins if other not in (p, p + "_convert")]) for p in plugins
}}
print(json.dumps([alone, without]))
"""


@pytest.fixture(scope="module")
def alone_and_without() -> list[dict[str, list[str]]]:
    return json.loads(run(_ALONE_AND_WITHOUT.format(plugins=PLUGINS)).splitlines()[-1])


def family(plugin: str) -> set[str]:
    """Return the plugin and the block that a converter belongs to."""
    return {plugin, plugin.removesuffix("_convert")}


@pytest.mark.parametrize("plugin", PLUGINS)
@pytest.mark.slow
def test_plugin_imports_alone(plugin: str, alone_and_without) -> None:
    """The import of one plugin needs no other plugin, nor brings one in."""
    loaded = set(alone_and_without[0][plugin])
    assert plugin in loaded
    assert loaded <= family(plugin)


@pytest.mark.parametrize("plugin", PLUGINS)
@pytest.mark.slow
def test_the_others_import_without_a_plugin(plugin: str, alone_and_without) -> None:
    """The import half of the promise that a system can be deleted."""
    assert alone_and_without[1][plugin] == [
        p for p in PLUGINS if p not in (plugin, f"{plugin}_convert")
    ]


def test_every_plugin_has_its_line() -> None:
    lines = [line for line in REGISTER.read_text().splitlines() if line.startswith("import_plugin")]
    assert sorted(lines) == sorted(f'import_plugin("mmattn.projects.{name}")' for name in PLUGINS)


TOY = {
    "__init__.py": "from . import assigner, hook, scheduler, training, transform",
    "assigner.py": """
from mmattn.registry import TASK_UTILS
from mmdet.models.task_modules import MaxIoUAssigner

@TASK_UTILS.register_module()
class ToyAssigner(MaxIoUAssigner):
    pass
""",
    "transform.py": """
from mmcv.transforms import BaseTransform
from mmattn.registry import TRANSFORMS

@TRANSFORMS.register_module()
class ToyMosaic(BaseTransform):
    def transform(self, results):
        return {**results, "toy": True}
""",
    "hook.py": """
from mmengine.hooks import Hook
from mmattn.registry import HOOKS

@HOOKS.register_module()
class ToyCloseMosaicHook(Hook):
    pass
""",
    "scheduler.py": """
from mmengine.optim import ConstantLR
from mmattn.registry import PARAM_SCHEDULERS

@PARAM_SCHEDULERS.register_module()
class ToyRamp(ConstantLR):
    pass
""",
    "training.py": """
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.runner import IterBasedTrainLoop
from torch.optim import SGD
from mmattn.registry import LOOPS, OPTIM_WRAPPER_CONSTRUCTORS, OPTIMIZERS

@LOOPS.register_module()
class ToyLoop(IterBasedTrainLoop):
    pass

@OPTIMIZERS.register_module()
class ToySGD(SGD):
    pass

@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class ToyConstructor(DefaultOptimWrapperConstructor):
    pass
""",
}

# Builds all toys by the registries of mmdet's scope, ``first`` first.
_BUILD_TOYS = """
import torch
from mmdet.registry import (
    HOOKS, LOOPS, OPTIM_WRAPPER_CONSTRUCTORS, OPTIMIZERS, PARAM_SCHEDULERS, TASK_UTILS, TRANSFORMS
)
from mmengine.config import ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope

DefaultScope.get_instance("test", scope_name="mmdet")


def build(what):
    if what == "transform":
        return TRANSFORMS.build(dict(type="mmattn.ToyMosaic"))
    if what == "hook":
        return HOOKS.build(dict(type="mmattn.ToyCloseMosaicHook"))
    if what == "assigner":
        return TASK_UTILS.build(dict(type="mmattn.ToyAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4))
    if what == "loop":
        return LOOPS.get("mmattn.ToyLoop")
    wrapper = build_optim_wrapper(torch.nn.Linear(2, 2), ConfigDict(
        type="OptimWrapper", optimizer=dict(type="mmattn.ToySGD", lr=0.1),
        constructor="mmattn.ToyConstructor"))
    if what == "optimizer":
        return wrapper.optimizer
    return PARAM_SCHEDULERS.build(dict(type="mmattn.ToyRamp"), default_args=dict(optimizer=wrapper))


for what in (first, "transform", "hook", "assigner", "loop", "optimizer", "scheduler"):
    cls = build(what)
    cls = cls if isinstance(cls, type) else type(cls)
    print(cls.__module__)
"""

BROKEN = {
    "needs_a_package.py": """
from mmattn.registry import MODELS
from torch import nn

@MODELS.register_module()
class EarlyGate(nn.Module):
    def __init__(self, in_channels):
        super().__init__()

import package_that_nobody_has

@MODELS.register_module(name="LateName")
class LateGate(EarlyGate):
    pass
""",
    "wrong.py": """
from mmattn.registry import MODELS
from mmattn.layers.no_such_file import nothing

@MODELS.register_module()
class WrongGate:
    pass
""",
    "no_python.py": "class NoPython(:\n    pass\n",
}

_ASK_BROKEN = """
from mmdet.registry import MODELS
from mmattn.errors import PluginError

for name in ("ECA", "CBAM", "CCHead"):
    print(MODELS.get("mmattn." + name).__name__)
for name in ("EarlyGate", "LateGate", "LateName", "EarlyGate", "WrongGate", "NoPython"):
    try:
        MODELS.build(dict(type="mmattn." + name, in_channels=4))
    except PluginError as error:
        print(error, "| cause:", type(error.__cause__).__name__)
try:
    MODELS.build(dict(type="mmattn.Unheard"))
except KeyError as error:
    print("mmengine's own error")
"""

_REPAIR = """
import sys, types
from mmdet.registry import MODELS
from mmattn.errors import PluginError

try:
    MODELS.get("mmattn.EarlyGate")
except PluginError:
    sys.modules["package_that_nobody_has"] = types.ModuleType("package")
print(MODELS.get("mmattn.EarlyGate").__name__, MODELS.get("mmattn.LateName").__name__)
"""

ASKING = """
from mmattn.registry import HOOKS, MODELS
MODELS.get("mmattn.CBAM")
HOOKS.get("Hook")

@MODELS.register_module()
class Asking:
    pass
"""

_LOOK_UP_WHILE_IMPORTING = """
import mmattn.projects.blocks.asking
from mmattn.plugin_imports import import_failures
from mmattn.registry import MODELS

print(MODELS.get("mmattn.Asking").__name__, MODELS.get("mmattn.ECA").__name__)
print([str(e) for e in import_failures() if "asking" in str(e)])
"""

SCENARIOS = {
    **{
        f"{first} first": f"first = {first!r}\n{_BUILD_TOYS}"
        for first in ("transform", "assigner", "hook", "scheduler")
    },
    "ask broken": _ASK_BROKEN,
    "repair": _REPAIR,
    "look up while importing": _LOOK_UP_WHILE_IMPORTING,
}

# Runs each scenario in a fork of a process in which nothing of ours but the registry, and all that
# is slow to import, has been loaded. Prints their outputs.
_RUN_SCENARIOS = """
import contextlib, io, json, os, sys, traceback
sys.path.insert(0, {root!r})
import mmattn.registry, mmdet.models, mmdet.engine.hooks, mmseg.models

assert not any(m.startswith(("mmattn.projects", "mmattn.layers")) for m in sys.modules)


def output_of(code):
    read, write = os.pipe()
    if os.fork():
        os.close(write)
        with open(read) as answer:
            return answer.read()
    with open(write, "w") as answer, contextlib.redirect_stdout(answer):
        try:
            exec(code, {{}})
        except BaseException:
            print(traceback.format_exc())
    os._exit(0)


outputs = {{name: output_of(code) for name, code in {scenarios!r}.items()}}
print(json.dumps(outputs))
"""


@pytest.fixture(scope="module")
def outputs(checkout_with: Callable[..., Path]) -> dict[str, str]:
    """Return the output of every scenario, in a checkout with toy and broken plugins."""
    files = {f"projects/toy/{name}": text for name, text in TOY.items()}
    files |= {f"projects/blocks/{name}": text for name, text in BROKEN.items()}
    files["projects/blocks/asking.py"] = ASKING
    plugins = ["toy", "blocks.asking", *(f"blocks.{Path(name).stem}" for name in BROKEN)]
    lines = "".join(f'import_plugin("mmattn.projects.{name}")\n' for name in plugins)
    root = checkout_with(files, {"projects/_register.py": lines})
    code = _RUN_SCENARIOS.format(root=str(root), scenarios=SCENARIOS)
    return json.loads(run(code).splitlines()[-1])


@pytest.mark.parametrize("first", ["transform", "assigner", "hook", "scheduler"])
@pytest.mark.slow
def test_everything_in_a_systems_folder_is_found_by_name(
    first: str, outputs: dict[str, str]
) -> None:
    """In mmdet's scope, whatever is built first, although no plugin was imported before."""
    modules = outputs[f"{first} first"].split()
    homes = ["transform", "hook", "assigner", "training", "training", "scheduler"]
    assert modules[-6:] == [f"mmattn.projects.toy.{home}" for home in homes]


@pytest.mark.slow
def test_a_broken_plugin_breaks_itself_alone_and_says_why(outputs: dict[str, str]) -> None:
    lines = outputs["ask broken"].splitlines()
    assert lines[:3] == ["ECA", "CBAM", "CCHead"]
    early, late, named, again, wrong, no_python, unheard = lines[3:]
    assert early.startswith(
        "'EarlyGate' cannot be built: the plugin 'blocks.needs_a_package' needs the package "
        "'package_that_nobody_has', which is not installed, at "
    )
    assert "needs_a_package.py, line 10. Install it (pip install package_that_nobody_has)" in early
    assert early.endswith("all other plugins work. | cause: ModuleNotFoundError")
    assert late == early.replace("EarlyGate", "LateGate")
    assert named == early.replace("EarlyGate", "LateName")
    assert again == early, "asked again, it must not say 'already registered'"
    assert "'blocks.wrong' cannot be imported (ModuleNotFoundError: No module named 'mm" in wrong
    assert "Fix the import (python -c 'import mmattn.projects.blocks.wrong' shows" in wrong
    assert "cannot be imported (SyntaxError: invalid syntax" in no_python
    assert "no_python.py, line 1. Fix" in no_python
    assert unheard == "mmengine's own error"


@pytest.mark.slow
def test_a_repaired_plugin_works_at_the_next_attempt(outputs: dict[str, str]) -> None:
    """So does one that failed only because it was imported in the middle of another import."""
    assert outputs["repair"].split() == ["EarlyGate", "LateGate"]


@pytest.mark.slow
def test_a_look_up_in_the_middle_of_a_plugins_import(outputs: dict[str, str]) -> None:
    """``_register`` then imports all plugins while that one is half imported."""
    assert outputs["look up while importing"].split() == ["Asking", "ECA", "[]"]


@pytest.mark.parametrize("folder", ["projects", "custom_ops"])
def test_folders_refuse_the_wrong_name(folder: str, repo: Path) -> None:
    """Imported under its folder's name, a project would register everything a second time."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {folder}"], capture_output=True, text=True, cwd=repo
    )
    assert done.returncode != 0
    assert "ImportError: import mmattn." in done.stderr
