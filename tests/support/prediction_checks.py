"""What a prediction of mmdet or mmseg has to look like, task by task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from mmengine.config import Config

    from .upstream_configs import Case


def check_prediction(sample: Any, case: Case, cfg: Config) -> None:
    """Check the fields, shapes and values that a model left in a data sample.

    Args:
        sample: Data sample of one image, of one video, or of one group of cut-out persons.
        case: The config: its task, the size of its images.
        cfg: The model's config, for its number of classes.

    Raises:
        AssertionError: A field is empty, has another shape or a value that cannot be.
    """
    task, size = case.task, case.size
    if case.video:
        _check_video(sample, case)
    elif task == "lanes":
        lanes = sample.pred_instances
        if len(lanes.lines) != len(lanes.line_conf):
            raise AssertionError("lanes and their confidences differ in number")
    elif task == "reid":
        expect(sample.pred_feature, (4, cfg.model.head.out_channels), "pred_feature")
    elif task == "panoptic":
        expect(sample.pred_panoptic_seg.sem_seg, (1, *size), "pred_panoptic_seg.sem_seg")
    elif task == "semantic":
        _check_semantic(sample, size, _classes_of(cfg))
    else:
        empty, masks = case.may_be_empty, task == "instance"
        _check_instances(sample.pred_instances, size, with_masks=masks, may_be_empty=empty)


def _check_instances(
    found: Any, size: tuple[int, int], *, with_masks: bool, may_be_empty: bool
) -> None:
    count = len(found)
    if not count and not may_be_empty:
        raise AssertionError("nothing was predicted, with all thresholds open")
    expect(found.scores, (count,), "pred_instances.scores")
    expect(found.labels, (count,), "pred_instances.labels")
    expect(found.bboxes, (count, 4), "pred_instances.bboxes")
    if with_masks:
        expect(found.masks, (count, *size), "pred_instances.masks")


def _check_video(video: Any, case: Case) -> None:
    """A track has an identity; a tracker may find none in the noise of an untrained network."""
    for frame in video.video_data_samples:
        tracks = frame.pred_track_instances
        expect(tracks.bboxes, (len(tracks), 4), "pred_track_instances.bboxes")
        expect(tracks.instances_id, (len(tracks),), "pred_track_instances.instances_id")
        if case.task == "instance":
            expect(tracks.masks, (len(tracks), *case.size), "pred_track_instances.masks")


def _check_semantic(sample: Any, size: tuple[int, int], classes: int) -> None:
    expect(sample.seg_logits.data, (classes, *size), "seg_logits")
    expect(sample.pred_sem_seg.data, (1, *size), "pred_sem_seg")
    if sample.pred_sem_seg.data.max() >= classes:
        raise AssertionError(f"pred_sem_seg has a class that is not below {classes}")


def _classes_of(cfg: Config) -> int:
    head = cfg.model.decode_head
    # A cascade's last head gives the result; K-Net's stages have the classes of the first.
    head = head[-1] if isinstance(head, (list, tuple)) else head
    return head.get("kernel_generate_head", head).num_classes


def expect(value: torch.Tensor, shape: tuple[int, ...], name: str) -> None:
    """Raise an AssertionError unless ``value`` is a finite tensor of ``shape``."""
    import torch

    if not isinstance(value, torch.Tensor):
        raise AssertionError(f"{name} is a {type(value).__name__}, not a tensor")
    if tuple(value.shape) != shape:
        raise AssertionError(f"{name} has shape {tuple(value.shape)}, not {shape}")
    if not torch.isfinite(value.float()).all():
        raise AssertionError(f"{name} has values that are not finite")
