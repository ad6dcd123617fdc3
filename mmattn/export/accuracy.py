"""Per-class IoU of any predictor, so that torch and an exported file are measured alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from mmattn.evaluation.semantic.class_ious import ClassIoUs

if TYPE_CHECKING:
    from torch import nn

    from .exported_model import ExportedModel
    from .validation_set import ValidationImage

IGNORED = 255
Image = TypeVar("Image")


def class_ious(
    predict: Callable[[Image], np.ndarray],
    pairs: Iterable[tuple[Image, np.ndarray]],
    classes: Iterable[str],
) -> ClassIoUs:
    """Run ``predict`` over images and compare with their labels.

    Args:
        predict: Function from an image to (H, W) class indices.
        pairs: Images, as ``predict`` takes them, and labels, (H, W), where 255 stands for
            "ignored".
        classes: Class names by index.
    """
    classes = tuple(classes)
    count = len(classes)
    confusion = np.zeros((count, count), np.int64)
    for image, mask in pairs:
        counted = mask != IGNORED
        index = mask[counted].astype(np.int64) * count + predict(image)[counted]
        confusion += np.bincount(index, minlength=count * count).reshape(count, count)
    return ClassIoUs.of(confusion, classes)


def torch_predictor(model: nn.Module) -> Callable[[ValidationImage], np.ndarray]:
    """Return ``model`` as a function from an image to (H, W) classes, at the size of the file.

    It runs as in a test: data preprocessor, windows where the config asks for them, resize.

    Args:
        model: An mmseg ``EncoderDecoder`` in eval mode.
    """
    import torch

    def predict(image: ValidationImage) -> np.ndarray:
        with torch.no_grad():
            # A copy of the sample, since results are added to it.
            (result,) = model.test_step(
                {"inputs": [image.inputs], "data_samples": [image.sample.new()]}
            )
        return result.pred_sem_seg.data[0].long().cpu().numpy()

    return predict


def exported_predictor(
    exported: ExportedModel, model: nn.Module
) -> Callable[[ValidationImage], np.ndarray]:
    """Return an exported file as a function from an image to (H, W) classes, at the file's size.

    The file gets the image as the test pipeline resized it. Its logits are resized as the model
    resizes its own; classes, of a file without logits, are taken from the nearest pixel.

    Args:
        exported: Exported file of a semantic segmentation model.
        model: The model in torch, which knows how a test pads images and resizes logits.
    """
    import torch
    from torch.nn import functional

    preprocessor = model.data_preprocessor
    divisor = int((preprocessor.test_cfg or {}).get("size_divisor") or 1)
    metadata = exported.metadata
    pad_value = np.array(metadata.mean) + preprocessor.pad_val * np.array(metadata.std)
    if metadata.network_channel_order == "BGR":
        pad_value = pad_value[::-1]

    def predict(image: ValidationImage) -> np.ndarray:
        pixels, sample = image.rgb, image.sample.new()
        height, width = pixels.shape[:2]
        bottom, right = -height % divisor, -width % divisor
        if bottom or right:  # the test pads after the normalisation, which is inside the file
            padded = np.empty((height + bottom, width + right, 3), np.float32)
            padded[:] = pad_value
            padded[:height, :width] = pixels
            pixels = padded
        output = torch.from_numpy(exported.run(pixels[None])["output"])
        if metadata.output == "logits":
            sample.set_metainfo({"img_padding_size": (0, right, 0, bottom)})
            (result,) = model.postprocess_result(output, [sample])
            return result.pred_sem_seg.data[0].long().numpy()
        classes = output[:, None, :height, :width].double()
        return functional.interpolate(classes, sample.metainfo["ori_shape"])[0, 0].long().numpy()

    return predict
