"""Functions of ``mmcv._ext`` that mmattn does not supply: they exist, and fail when called.

mmcv asks for all of its functions while ``mmcv.ops`` is imported, needed or not.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

from mmattn.errors import MissingOpError

# What to use instead, by the beginning of the function's name.
_ALTERNATIVES = {
    "sync_bn": "use torch.nn.SyncBatchNorm (norm_cfg=dict(type='SyncBN')) instead of 'MMSyncBN'",
    "fused_bias_leakyrelu": "run it on the CPU, where mmcv has a Python version",
    "upfirdn2d": "run it on the CPU, where mmcv has a Python version",
    "bias_act": "call mmcv.ops.bias_act with use_custom_op=False",
    "filtered_lrelu": "call mmcv.ops.filtered_lrelu with use_custom_op=False",
}


def missing_op(name: str) -> Callable:
    """A function that raises ``MissingOpError`` for the op ``name``."""
    remedies = [text for start, text in _ALTERNATIVES.items() if name.startswith(start)]

    def fail(*args, **kwargs):
        remedy = ", or ".join([*remedies, _how_to_build()])
        raise MissingOpError(
            f"mmcv's op '{name}' is not available: mmcv is installed without its compiled "
            f"extension (mmcv._ext), and mmattn supplies only the ops that mmdet and mmseg use. "
            f"To run it, {remedy}"
        )

    fail.__name__ = fail.__qualname__ = name
    return fail


def _how_to_build() -> str:
    package = _source_package()
    return (
        "build mmcv with its ops, from its source and with a C++ compiler (and nvcc for CUDA): "
        "pip install --no-build-isolation --no-deps --force-reinstall --no-cache-dir "
        f"--no-binary {package} {package}"
    )


def _source_package() -> str:
    """The mmcv that is installed, the fork or the original, by the name that has its source."""
    try:
        version("onedl-mmcv")
    except PackageNotFoundError:
        return "mmcv"
    return "onedl-mmcv"


def module_getattr(name: str) -> Callable:
    """``__getattr__`` of the module: a public name that is not supplied is a missing op."""
    if name.startswith("_"):
        raise AttributeError(name)
    return missing_op(name)
