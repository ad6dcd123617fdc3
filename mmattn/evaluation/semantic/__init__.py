"""Evaluation of semantic segmentation: counts of pixels, scores, calibration, plots."""
