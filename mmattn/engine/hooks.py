"""Registers the hooks of scope ``mmattn``; the registry imports this at its first look-up."""

from __future__ import annotations

from .checkpoint_hook import CheckpointHook
from .compile_hook import CompileHook
from .curves_hook import CurvesHook
from .early_stopping_hook import EarlyStoppingHook
from .evaluation_images_hook import EvalPlotsHook
from .progress_hook import ProgressHook
from .result_table_hook import ResultTableHook
from .same_buffers_hook import SameBuffersHook
from .step_seed_hook import StepSeedHook
from .val_loss_hook import ValLossHook

__all__ = [
    "CheckpointHook",
    "CompileHook",
    "CurvesHook",
    "EarlyStoppingHook",
    "EvalPlotsHook",
    "ProgressHook",
    "ResultTableHook",
    "SameBuffersHook",
    "StepSeedHook",
    "ValLossHook",
]
