"""Measure a checkpoint for ``mmattn report``, a module per task with ``measure_run``."""
