"""Hooks of scope ``mmattn``; the registry imports this at its first look-up. See docs/hooks.md."""

from __future__ import annotations

from .attention_statistics import AttentionStatisticsHook
from .broadcast_buffers import BroadcastBuffersHook
from .checkpoint import CheckpointHook
from .class_rows import ClassRowsHook
from .classwise_results import ClasswiseResultsHook
from .compile import CompileHook
from .drawn_predictions import DrawnPredictionsHook
from .early_stopping import EarlyStoppingHook
from .epoch_info_by_iter import EpochInfoByIterHook
from .eval_plots import EvalPlotsHook
from .exact_resume import ExactResumeHook
from .finite_steps import FiniteStepsHook
from .first_screen import FirstScreenHook
from .fuse import FuseHook
from .l1_loss_from_iter import L1LossFromIterHook
from .last_epochs_pipeline import LastEpochsPipelineHook
from .painted_predictions import PaintedPredictionsHook
from .progress import ProgressHook
from .require_complete_checkpoint import RequireCompleteCheckpointHook
from .run_report import RunReportHook
from .scale_weight_decay import ScaleWeightDecayHook
from .seed_per_iter import SeedPerIterHook
from .stop_on_signal import StopOnSignalHook
from .training_curves import TrainingCurvesHook
from .val_loss import ValLossHook

__all__ = [
    "AttentionStatisticsHook",
    "BroadcastBuffersHook",
    "CheckpointHook",
    "ClassRowsHook",
    "ClasswiseResultsHook",
    "CompileHook",
    "DrawnPredictionsHook",
    "EarlyStoppingHook",
    "EpochInfoByIterHook",
    "EvalPlotsHook",
    "ExactResumeHook",
    "FiniteStepsHook",
    "FirstScreenHook",
    "FuseHook",
    "L1LossFromIterHook",
    "LastEpochsPipelineHook",
    "PaintedPredictionsHook",
    "ProgressHook",
    "RequireCompleteCheckpointHook",
    "RunReportHook",
    "ScaleWeightDecayHook",
    "SeedPerIterHook",
    "StopOnSignalHook",
    "TrainingCurvesHook",
    "ValLossHook",
]
