"""The top-level keys of a config that anything reads; all others are its own variables."""

from __future__ import annotations

#: What mmengine's runners and the tools read.
READ_KEYS = frozenset({
    "model", "data_preprocessor", "work_dir", "experiment_name", "default_scope", "custom_imports",
    "train_dataloader", "train_cfg", "val_dataloader", "val_cfg", "val_evaluator",
    "test_dataloader", "test_cfg", "test_evaluator", "tta_model", "tta_pipeline",
    "optim_wrapper", "param_scheduler", "auto_scale_lr", "default_hooks", "custom_hooks",
    "load_from", "resume", "resume_schedule", "launcher", "env_cfg", "randomness",
    "log_processor", "log_level",
    "visualizer", "runner_type", "strategy", "model_wrapper_cfg", "sync_bn", "compile",
    "find_unused_parameters", "activation_checkpointing", "efficient_conv_bn_eval",
    "exact_resume", "numerics", "ranks", "run_report",
})  # fmt: skip
