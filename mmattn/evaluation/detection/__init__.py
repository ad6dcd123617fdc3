"""Evaluation of detection and instance segmentation."""
