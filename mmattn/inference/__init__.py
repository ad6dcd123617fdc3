"""Models ready to predict: built, their weights loaded, in eval mode; and images predicted."""

from __future__ import annotations

from .model import build_model as build_model
from .predict import predict_images as predict_images

__all__ = ["build_model", "predict_images"]
