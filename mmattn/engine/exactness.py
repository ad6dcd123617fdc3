"""What of a training is not the same when it is resumed, or run twice, and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mmattn.config.walk import walk
from mmattn.inference.model import unwrap_model
from mmattn.type_names import bare_name

from .positioned_loading import why_not_by_position

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner
    from torch import nn

#: Steps of training pipelines that remember earlier samples or draw from generators of their own.
FORGETFUL = {
    "CachedMosaic": "images of earlier samples",
    "CachedMixUp": "images of earlier samples",
    "Albu": "generators of albumentations",
}
# From the notes of torch.use_deterministic_algorithms: what adds in an order that CUDA chooses,
# and parts of networks that use it.
_ON_CUDA = {
    "bilinear interpolation": ("BaseDecodeHead", "Upsample", "UpsamplingBilinear2d", "PAFPN"),
    "nearest interpolation": ("FPN", "YOLOXPAFPN", "CSPNeXtPAFPN", "UpsamplingNearest2d"),
    "cross entropy of maps": ("BaseDecodeHead", "FCNMaskHead"),
    "adaptive average pooling": ("AdaptiveAvgPool2d",),
    "RoIAlign": ("RoIAlign",),
    "grid_sample": ("MultiScaleDeformableAttention", "PointRend", "Mask2FormerHead"),
    "deformable convolution": ("DeformConv2d", "ModulatedDeformConv2d"),
}


def exactness(runner: Runner) -> str:
    """Say in one sentence how a resumed training compares with one that was never stopped.

    Args:
        runner: Runner whose training is about to begin.
    """
    apart = why_not_by_position(runner)
    if apart:
        return f"not exact: {apart}, so that a resumed run sees other images"
    if not runner.cfg.get("exact_resume", True):
        return "in the same order of images, augmented otherwise (exact_resume=False)"
    forgetful = parts_among(runner.cfg, FORGETFUL)
    if forgetful:
        parts = " and ".join(f"{name} ({FORGETFUL[name]})" for name in forgetful)
        return f"not exact: {parts} is in no checkpoint"
    text = "exact: the same numbers wherever it is stopped, with any number of workers"
    operators = unordered_operators(unwrap_model(runner)) if on_cuda(runner) else []
    if operators and not runner.deterministic:
        text += (
            f"; but for the order of sums on CUDA in {', '.join(operators)} "
            "(randomness.deterministic=True)"
        )
    return text


def parts_among(cfg: Config, names: Iterable[str]) -> list[str]:
    """List the types of ``names`` in the training data and the model of ``cfg``."""
    found = {
        bare_name(value)
        for key in ("train_dataloader", "model")
        for path, value in walk(cfg.get(key))
        if path.rpartition(".")[2] == "type"
    }
    return sorted(found & set(names))


def unordered_operators(model: nn.Module) -> list[str]:
    """List operators of ``model`` for which torch has no deterministic kernel on CUDA by default.

    The parts of the network tell, not its operators: one that is called by a function of its own
    may be missing.
    """
    types = {cls.__name__ for module in model.modules() for cls in type(module).__mro__}
    return [name for name, parts in _ON_CUDA.items() if types & set(parts)]


def on_cuda(runner: Runner) -> bool:
    """Return whether the model's weights are on a CUDA device."""
    return any(p.device.type == "cuda" for p in runner.model.parameters())
