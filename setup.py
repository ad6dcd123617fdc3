"""Packaging of mmattn: one import package, with configs and tools in ``mmattn/.mim``.

``mmattn/ops``, ``mmattn/projects`` and the entries of ``mmattn/.mim`` are committed links; a wheel
gets copies of what they point at, a checkout and an editable install use them as they are.
"""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

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


def version() -> str:
    """The version, read without importing the package."""
    text = (ROOT / "mmattn" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"', text, re.MULTILINE).group(1)


setup(
    name="mmattn",
    version=version(),
    description="Attention systems for dense prediction, as plugins for mmdet and mmseg",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["mmattn", "mmattn.*"]),
    package_data={"mmattn": [".mim/**/*", ".mim/*"]},
    install_requires=INSTALL_REQUIRES,
    extras_require={"export": EXPORT_REQUIRES},
    zip_safe=False,
)
