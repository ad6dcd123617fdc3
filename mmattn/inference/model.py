"""Build the model of a config for inference: in its scope, with its weights, in eval mode."""

from __future__ import annotations

import logging
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmattn.config.dataset_meta import dataset_meta
from mmattn.config.optional_packages import require_packages
from mmattn.config.registry_scope import enter_scope, explain_registry_errors
from mmattn.config.run_settings import existing_checkpoint
from mmattn.config.sections import check_sections
from mmattn.errors import ConfigError
from mmattn.inference.device import require_device
from mmattn.models.timm_normalization import fill_normalization
from mmattn.preflight.auto_classes import fill_class_counts
from mmattn.preflight.backbone import check_channels
from mmattn.quiet import quiet
from mmattn.weights.local import local_checkpoint

if TYPE_CHECKING:
    import torch
    from mmengine.config import Config
    from mmengine.runner import Runner
    from torch import nn


def build_model(
    cfg: Config,
    checkpoint: str | Path | None = None,
    device: str | torch.device = "cpu",
    *,
    allow_partial: bool = False,
) -> nn.Module:
    """Build ``cfg.model`` and load ``checkpoint`` into it.

    Nothing is downloaded: weights that the config would fetch (``init_cfg``, ``pretrained``) are
    left out. Without a checkpoint the parameters get their random initial values.

    Args:
        cfg: Whole config; it is not changed.
        checkpoint: This model's weights: a file, read as data only, or ``weights://NAME``.
        device: Device of the result. SyncBN becomes BN, since this is one process.
        allow_partial: Accept a checkpoint that lacks weights which inference uses.

    Returns:
        The model in eval mode; its ``dataset_meta`` (class names, palette) is the checkpoint's,
        else that of the config's dataset.

    Raises:
        ConfigError: The config has no ``model``, a section of it is of a wrong type, or a type in
            it is not registered; or ``device`` is misspelt or not there.
        MissingPackageError: The model needs an optional package that is not installed.
        DataError: ``num_classes="auto"`` is to be counted in data that is not there.
        CheckpointError: The weights cannot be read safely, or some are missing or of another
            shape.
    """
    check_sections(cfg, cfg.filename)
    if "model" not in cfg:
        raise ConfigError(f"{cfg.filename or 'The config'} has no `model`.")
    require_device(device)
    if checkpoint is not None:
        # Before the build, which takes seconds.
        checkpoint = local_checkpoint(existing_checkpoint(str(checkpoint)))
    require_packages(cfg)
    cfg = fill_class_counts(cfg)
    enter_scope(cfg)
    from mmengine.logging import MMLogger
    from mmengine.model import revert_sync_batchnorm
    from mmengine.registry import MODELS

    model_cfg = strip_pretrained(deepcopy(cfg.model))
    if cfg.get("data_preprocessor"):
        model_cfg.setdefault("data_preprocessor", deepcopy(cfg.data_preprocessor))
    with explain_registry_errors(cfg.filename):
        fill_normalization(model_cfg, cfg.get("default_scope"))
        model = MODELS.build(model_cfg)
    check_channels(model, cfg.filename)
    meta: dict[str, Any] = {}
    if checkpoint is None:
        # mmengine logs the initialisation of every single parameter.
        with quiet(MMLogger.get_current_instance(), level=logging.WARNING):
            model.init_weights()
    else:
        meta = load_weights(model, checkpoint, allow_partial=allow_partial)
    model = revert_sync_batchnorm(model)
    model.cfg = cfg
    model.dataset_meta = meta or dataset_meta(cfg)
    # Statements: to() and train() of mmdet's distillation detectors return None.
    model.to(device)
    model.eval()
    return model


def load_weights(
    model: nn.Module, checkpoint: str | Path, *, allow_partial: bool = False
) -> dict[str, Any]:
    """Load ``checkpoint`` into ``model`` and return the checkpoint's metadata.

    Prediction and export load here. Tests load through mmengine's Runner, whose hooks may rearrange
    the checkpoint, and so through ``mmattn/bridge/checkpoints.py``; RequireCompleteCheckpointHook
    refuses partial ones. Both paths end in ``mmattn.io.load_into_model.load_into``.

    Args:
        model: Network to load; it is changed in place.
        checkpoint: File of the model's weights, read as data only.
        allow_partial: Accept a checkpoint that lacks weights which inference uses.

    Returns:
        Class names and palette of the dataset of the training, as the checkpoint tells them.

    Raises:
        CheckpointError: The file cannot be read safely, or, unless ``allow_partial``, weights are
            missing or have another shape.
    """
    from mmattn.io import load_state_dict, read_checkpoint
    from mmattn.io.load_into_model import normalize_checkpoint, require_complete

    source = str(checkpoint)
    content = normalize_checkpoint(read_checkpoint(checkpoint), source)
    report = load_state_dict(model, content["state_dict"], source=source)
    if not allow_partial:
        require_complete(report, source)
    return _meta_of_training(content.get("meta") or {})


def _meta_of_training(meta: dict[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint says about its dataset; before 2023 its keys were upper-case."""
    dataset = meta.get("dataset_meta") or {k: meta[k] for k in ("CLASSES", "PALETTE") if k in meta}
    return {str(key).lower(): value for key, value in dataset.items()}


def unwrap_model(runner: Runner) -> nn.Module:
    """Return the runner's model without the wrapper of a distributed run."""
    from mmengine.model import is_model_wrapper

    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def strip_pretrained(cfg: Any) -> Any:
    """Remove, in place and at any depth, what would fetch weights, and return ``cfg``."""
    if isinstance(cfg, dict):
        if isinstance(cfg.get("pretrained"), (str, bool)):
            cfg["pretrained"] = None
        if isinstance(cfg.get("teacher_ckpt"), str):  # of mmdet's distillation
            cfg["teacher_ckpt"] = None
        detector = cfg.get("detector")
        if isinstance(detector, dict) and isinstance(detector.get("weights"), str):
            detector["weights"] = ""  # detectron2's name for none
        if "init_cfg" in cfg:
            cfg["init_cfg"] = _without_checkpoint(cfg["init_cfg"])
        for value in cfg.values():
            strip_pretrained(value)
    elif isinstance(cfg, (list, tuple)):
        for value in cfg:
            strip_pretrained(value)
    return cfg


def _without_checkpoint(init: Any) -> Any:
    """The initialisation, or those of a list, that read no file; None where none is left.

    mmdet's PVT gives a ``checkpoint`` and no type, mmseg's SAN has a type of its own.
    """
    if isinstance(init, dict):
        reads = init.get("checkpoint") or init.get("type") in ("Pretrained", "mmengine.Pretrained")
        return None if reads else init
    if isinstance(init, (list, tuple)):
        return [one for one in init if _without_checkpoint(one) is not None] or None
    return init
