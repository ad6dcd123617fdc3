"""What detection runs share that are counted in iterations, not in epochs."""

_base_ = ["./detection_runtime.py"]

log_processor = dict(by_epoch=False)
