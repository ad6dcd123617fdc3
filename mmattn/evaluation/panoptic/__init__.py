"""Evaluation of panoptic segmentation."""
