"""Compiler and CUDA versions, for ``mmcv.ops.info`` and the environment report."""

from __future__ import annotations

__all__ = ["get_compiler_version", "get_compiling_cuda_version"]


def get_compiler_version() -> str:
    """The compiler of ``mmcv._ext``; here there was none."""
    return "none (mmattn.bridge.ext in place of mmcv's compiled ops)"


def get_compiling_cuda_version() -> str:
    """The CUDA version of ``mmcv._ext``, in mmcv's words for builds without CUDA."""
    return "not available"
