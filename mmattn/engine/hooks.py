"""Registers the hooks of scope ``mmattn``; the registry imports this at its first look-up."""

from __future__ import annotations

from .checkpoint_hook import CheckpointHook
from .curves_hook import CurvesHook
from .evaluation_pictures_hook import EvaluationPicturesHook
from .progress_hook import ProgressHook
from .result_table_hook import ResultTableHook
from .step_seed_hook import StepSeedHook

__all__ = [
    "CheckpointHook",
    "CurvesHook",
    "EvaluationPicturesHook",
    "ProgressHook",
    "ResultTableHook",
    "StepSeedHook",
]
