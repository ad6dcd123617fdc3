"""Models ready to predict: built, their weights loaded, in eval mode; and images predicted."""

from __future__ import annotations

from .detect import DetectionOptions as DetectionOptions
from .model import build_model as build_model
from .predict import predict_images as predict_images
from .predict import predict_with as predict_with
from .torch_predictors import load_torch_predictor as load_torch_predictor

__all__ = [
    "DetectionOptions",
    "build_model",
    "load_torch_predictor",
    "predict_images",
    "predict_with",
]
