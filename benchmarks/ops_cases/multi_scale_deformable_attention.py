"""Multi-scale deformable attention against mmcv's own path where it has no kernel (the CPU).

Queries of an encoder read near their own pixel (offsets with a deviation of two pixels), those of a
decoder near random places. The last rows are training steps of unchanged mmdet configs on drawn
images, with mmcv's path put back for the second contender.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from mmattn.ops import multi_scale_deformable_attention
from ops_cases import Contender, Results, Row, forward, forward_backward

OP = "multi_scale_deformable_attention"
# Maps of strides 8, 16, 32 (and 64), queries (None: an encoder, with one per pixel), and the goal.
SIZES: dict[str, tuple[list[tuple[int, int]], int | None, float]] = {
    "512x512, 3 levels": ([(64, 64), (32, 32), (16, 16)], None, 10.0),
    "800x1333, 4 levels": ([(100, 167), (50, 84), (25, 42), (13, 21)], None, 10.0),
    "640x640, 3 levels, 300 queries": ([(80, 80), (40, 40), (20, 20)], 300, 5.0),
}
TRAINING = {
    "Mask2Former R50": "mask2former_r50_8xb2-lsj-50e_coco",
    "Deformable DETR R50": "deformable-detr_r50_16xb2-50e_coco",
}


def rows(device: str) -> list[Row]:
    """Forward, and forward with backward, at each size; then training steps, on the CPU."""
    result = []
    for name, (shapes, queries, goal) in SIZES.items():
        for training in (False, True):
            setup = partial(_contenders, shapes, queries, training, device)
            title = f"{name}, forward{' + backward' if training else ''}"
            result.append(Row(OP, title, setup, {"mmcv": goal} if device == "cpu" else {}))
    if device == "cpu":
        for name, stem in TRAINING.items():
            title = f"training step of {name}, 2 x 512x512"
            setup = partial(_training_steps, stem)
            result.append(Row(OP, title, setup, {"mmcv": 1.0}, tolerance=1e-3))
    return result


def _mmcv_path() -> Callable[..., Tensor]:
    """mmcv's composition of ``grid_sample`` calls, without our bridge."""
    import mmattn  # noqa: F401  turns the bridge on, before mmcv is imported

    from mmcv.ops.multi_scale_deform_attn import (  # isort: skip
        multi_scale_deformable_attn_pytorch as path,
    )

    return getattr(path, "__wrapped__", path)


def _inputs(shapes, queries: int | None, device: str) -> list[Tensor]:
    """Values, locations and weights of one image: 8 heads of 32 channels, 4 points per level."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda *size: torch.randn(*size, generator=generator)  # noqa: E731
    pixels, levels = sum(height * width for height, width in shapes), len(shapes)
    if queries is None:
        queries = pixels
        centres = [
            torch.cartesian_prod((torch.arange(h) + 0.5) / h, (torch.arange(w) + 0.5) / w).flip(1)
            for h, w in shapes
        ]
        reference = torch.cat(centres)
    else:
        reference = torch.rand(queries, 2, generator=generator)
    size = torch.tensor([(w, h) for h, w in shapes], dtype=torch.float32)
    locations = reference.view(queries, 1, 1, 1, 2)
    locations = locations + 2 * draw(1, queries, 8, levels, 4, 2) / size.view(levels, 1, 2)
    weights = draw(1, queries, 8, levels * 4).softmax(-1).view(1, queries, 8, levels, 4)
    return [t.to(device) for t in (draw(1, pixels, 8, 32), locations, weights)]


def _contenders(shapes, queries, training: bool, device: str) -> dict[str, Contender]:
    inputs = _inputs(shapes, queries, device)
    theirs, tensor = _mmcv_path(), torch.tensor(shapes)

    def ours(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        return multi_scale_deformable_attention(value, shapes, locations, weights)

    def mmcv(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        return theirs(value, tensor, locations, weights)

    functions = {"mmattn": ours, "mmcv": mmcv}
    if not training:
        return {name: forward(function, *inputs) for name, function in functions.items()}
    grad = torch.randn(1, inputs[1].shape[1], 256, generator=torch.Generator().manual_seed(1))
    return {
        name: forward_backward(function, inputs, grad.to(device))
        for name, function in functions.items()
    }


@contextmanager
def _path(function: Callable[..., Tensor] | None) -> Iterator[None]:
    """mmcv's layers on a given path; None leaves them on ours."""
    import mmcv.ops.multi_scale_deform_attn as module

    before = module.multi_scale_deformable_attn_pytorch
    module.multi_scale_deformable_attn_pytorch = function or before
    try:
        yield
    finally:
        module.multi_scale_deformable_attn_pytorch = before


def _training_steps(stem: str) -> dict[str, Contender]:
    """Loss, backward and optimizer of a config; results are the loss and some gradients."""
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import DefaultScope

    from mmattn.config import load_config
    from mmattn.inference import build_model
    from tests.support.compatibility import make_batch
    from tests.support.upstream_configs import CASES

    original = _mmcv_path()
    case = next(c for c in CASES if c.config.removesuffix(".py").endswith(stem))
    case = replace(case, size=(512, 512))
    cfg = load_config(case.config)
    for augment in cfg.model.data_preprocessor.get("batch_augments") or ():
        augment.size = case.size  # the images' own
    torch.manual_seed(0)
    logging.disable(logging.WARNING)  # a line for every parameter
    try:
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            model = build_model(cfg).train()
            optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
            batch = make_batch(cfg, case, train=True)
    finally:
        logging.disable(logging.NOTSET)
    for group in optimizer.param_groups:  # the same work, and every step begins alike
        group["lr"] = group["weight_decay"] = 0.0
    # Gradients of the sampled values. Those of the locations would tell nothing: at first all lie
    # on pixels, where bilinear reading has a kink and the slope of either side is right.
    gradients: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        if name.endswith("value_proj.weight"):
            parameter.register_hook(partial(gradients.__setitem__, name))

    def step(function: Callable[..., Tensor] | None) -> Results:
        torch.manual_seed(1)  # dropout, and the points at which masks are compared
        with DefaultScope.overwrite_default_scope(cfg.default_scope), _path(function):
            loss = model.train_step(batch, optim_wrapper=optimizer)["loss"].detach()
        return (loss, *(gradients[name].clone() for name in sorted(gradients)))

    return {"mmattn": partial(step, None), "mmcv": partial(step, original)}
