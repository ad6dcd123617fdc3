"""Packages: those that everything needs are imported, optional ones are looked for."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from mmattn.config.optional_packages import packages_of_types
from mmattn.errors import one_line
from mmattn.ops.doctor import describe_families

from .findings import Finding

#: Import name -> names of its distribution, of which one is installed.
NEEDED = {
    "torch": ("torch",),
    "torchvision": ("torchvision",),
    "mmengine": ("onedl-mmengine", "mmengine"),
    "mmcv": ("onedl-mmcv", "mmcv", "mmcv-lite"),
    "mmdet": ("onedl-mmdetection", "mmdet"),
    "mmseg": ("onedl-mmsegmentation", "mmsegmentation"),
    "timm": ("timm",),
    "numpy": ("numpy",),
    "scipy": ("scipy",),
    "cv2": ("opencv-python-headless", "opencv-python"),
    "PIL": ("pillow",),
    "safetensors": ("safetensors",),
    "rich": ("rich",),
    "matplotlib": ("matplotlib",),
    "ftfy": ("ftfy",),
    "faster_coco_eval": ("faster-coco-eval",),
    "pycocotools": ("pycocotools",),
}
_EXPORT = "mmattn[export]"
#: Import name -> what pip is asked for, and what it is for.
OPTIONAL = {
    "onnx": (_EXPORT, "mmattn export"),
    "onnxscript": (_EXPORT, "mmattn export"),
    "onnxslim": (_EXPORT, "mmattn export"),
    "onnxruntime": (_EXPORT, "exported files: check, predict, benchmark"),
    "openvino": ("mmattn[openvino]", "mmattn export --format openvino"),
    "pytest": ("mmattn[testing]", "tests of your own blocks with mmattn.testing"),
}
#: The same of what writes curves elsewhere; a config names it in vis_backends.
LOGGERS = {
    "tensorboard": ("tensorboard", "TensorboardVisBackend"),
    "wandb": ("wandb", "WandbVisBackend"),
    "mlflow": ("mlflow", "MLflowVisBackend"),
    "clearml": ("clearml", "ClearMLVisBackend"),
}


def needed_packages() -> Iterator[Finding]:
    """Import what everything needs; one that cannot be imported is broken."""
    import mmattn

    yield Finding("mmattn", mmattn.__version__, str(next(iter(mmattn.__path__))))
    yield Finding("Python", platform.python_version(), platform.platform())
    for module, names in NEEDED.items():
        try:
            import_module(module)
        except Exception as error:  # whatever a broken installation raises
            fix = f"pip install --force-reinstall {names[0]}"
            yield Finding(module, f"cannot be imported: {one_line(error)[:200]}", fix, broken=True)
            continue
        name = next((name for name in names if _version(name)), names[0])
        yield Finding(
            module, _version(name) or "of unknown version", "" if name == module else name
        )
    for line in describe_families():
        if line.startswith("OpenMMLab packages"):
            continue  # they are in the table
        yield Finding("OpenMMLab packages", line, broken=True)


def optional_packages() -> Iterator[Finding]:
    """Look for what only some commands and configs need."""
    for module, (install, purpose) in OPTIONAL.items():
        yield _optional(module, install, purpose)
    for module, (install, types) in packages_of_types().items():
        purpose = f"configs with {', '.join(types[:3])}{' …' * (len(types) > 3)}"
        yield _optional(module, install, purpose if types else "some of upstream's configs")


def loggers() -> Iterator[Finding]:
    """Look for what curves can be sent to."""
    for module, (install, backend) in LOGGERS.items():
        yield _optional(module, install, f"vis_backends=[dict(type='{backend}')]")


def _optional(module: str, install: str, purpose: str) -> Finding:
    try:
        there = find_spec(module) is not None
    except (ImportError, ValueError):
        there = False
    if there:
        return Finding(module, _version(module) or "installed", purpose)
    wanted = install if install.startswith(("'", "-")) or "[" not in install else f"'{install}'"
    return Finding(module, "not installed", f"{purpose}; pip install {wanted}")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
