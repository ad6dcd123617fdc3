"""Packaging of mmattn: one import package, with configs and tools in ``mmattn/.mim``.

``mmattn/ops``, ``mmattn/projects`` and the entries of ``mmattn/.mim`` are committed links; a wheel
gets copies of what they point at, a checkout and an editable install use them as they are.

The compiled operators come along where this runs beside torch and a compiler, which means without
build isolation (``pip install --no-build-isolation .``, or ``uv build --no-build-isolation``): then
the wheel is one for the platform, for every Python. Otherwise it is pure and
``python -m mmattn.ops build`` compiles them afterwards. ``MMATTN_BUILD_OPS=0`` leaves them out.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path

from setuptools import Distribution, find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent

# What a user needs, as ranges; requirements.txt pins what the tests run with.
INSTALL_REQUIRES = [
    "torch>=2.10",
    "torchvision",
    "onedl-mmengine>=0.10.12",
    "onedl-mmcv>=2.3.6",
    "onedl-mmdetection>=3.5.1",
    "onedl-mmsegmentation>=1.4.2",
    "timm>=1.0.20",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "pillow",
    "safetensors",
    "rich",
    "matplotlib",
    "ftfy",
    "faster-coco-eval",
    "pycocotools",
]
EXPORT_REQUIRES = ["onnx", "onnxscript", "onnxslim", "onnxruntime"]
# mmattn.testing: the contracts that a user's own blocks are tested with.
TESTING_REQUIRES = ["pytest", *EXPORT_REQUIRES]
OPENVINO_REQUIRES = [*EXPORT_REQUIRES, "openvino>=2026.4"]  # it is converted from an ONNX file
# Backbones of mmpretrain in mmdet's and mmseg's configs (ConvNeXt, PoolFormer, re-identification).
# onedl-mmpretrain asks for modelindex, which is an empty package; model-index brings the module.
MMPRETRAIN_REQUIRES = ["onedl-mmpretrain>=1.3.6", "model-index"]


def version() -> str:
    """Read the version without importing the package."""
    text = (ROOT / "mmattn" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"', text, re.MULTILINE).group(1)


def operators():
    """Load the operators' build module; None where nothing is to be compiled."""
    path = ROOT / "mmattn" / "ops" / "build.py"  # a source distribution has no other
    spec = importlib.util.spec_from_file_location("mmattn_ops_build", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    able = module.torch_directory() is not None and module.cxx() is not None
    return module if able and os.environ.get("MMATTN_BUILD_OPS", "1") != "0" else None


class BuildPy(build_py):
    """Adds the compiled operators: to the wheel, or to the user's cache for an editable install."""

    def run(self) -> None:
        super().run()
        module = operators()
        if module is None:
            return
        inside = Path(self.build_lib) / "mmattn" / "ops" / "_lib"
        for outcome in module.build(None if self.editable_mode else inside):
            if outcome.path is None:  # never a reason to fail: plain torch answers instead
                self.warn(f"{outcome.library.op} was not compiled: {outcome.error}")


class MmattnDistribution(Distribution):
    """A wheel with compiled operators is bound to its platform."""

    def has_ext_modules(self) -> bool:
        return operators() is not None


class BdistWheel(bdist_wheel):
    """The operators need no Python headers, so one wheel serves every version of Python."""

    def get_tag(self) -> tuple[str, str, str]:
        tag = super().get_tag()
        return tag if self.root_is_pure else ("py3", "none", tag[2])


setup(
    name="mmattn",
    version=version(),
    description="Attention for detection and segmentation, in any network of mmdet, mmseg or timm",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["mmattn", "mmattn.*"]),
    package_data={"mmattn": ["py.typed", "weights/*.yml", ".mim/**/*", ".mim/*"], "": ["csrc/*"]},
    entry_points={"console_scripts": ["mmattn = mmattn.cli.main:main"]},
    distclass=MmattnDistribution,
    cmdclass={"build_py": BuildPy, "bdist_wheel": BdistWheel},
    install_requires=INSTALL_REQUIRES,
    extras_require={
        "export": EXPORT_REQUIRES,
        "mmpretrain": MMPRETRAIN_REQUIRES,
        "openvino": OPENVINO_REQUIRES,
        "testing": TESTING_REQUIRES,
    },
    zip_safe=False,
)
