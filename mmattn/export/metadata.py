"""Metadata of an exported file: enough to run it without the config it came from."""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from mmattn.errors import ExportError


@dataclass(frozen=True)
class ExportMetadata:
    """Metadata in the ONNX file's ``metadata_props``, one key per field, values as JSON.

    OpenVINO's conversion carries them over, as ``rt_info`` under ``framework``.

    The input of every file is the same whatever the network was trained on: float32 RGB images in
    0..255, (N, 3, H, W). Channel order, mean and standard deviation are applied inside the graph,
    because a forgotten normalisation is the error that no runtime reports; they are recorded for
    information.

    Attributes:
        task: Name of the task, such as ``"semantic segmentation"``.
        classes: Class names by index.
        palette: RGB triple per class; empty where the dataset has none.
        output: Form of the output, one that the task has; for semantic segmentation ``"logits"``,
            float32 (N, classes, H, W), or ``"classes"``, int64 (N, H, W); for detection ``"nms"``,
            ``"decoded"`` or ``"raw"`` (``tasks/detection_model.py``).
        threshold: Probability above which a pixel is class 1, for a one-channel output; else None.
        shape: (H, W) that the model was traced at; the only size accepted unless ``dynamic``.
        dynamic: Whether batch, height and width are free.
        size_divisor: Height and width have to be multiples of this.
        network_channel_order, mean, std: The normalisation inside the graph, in the network's
            order.
        test_mode: mmseg's ``test_cfg.mode``. The file always computes ``whole``; ``slide`` means
            that the config's own test cuts windows, which is the caller's loop around the file.
        test_resize: How the config's test pipeline resizes images before the network, which is not
            in the file: ``scale`` ([width, height]) or ``scale_factor``, and ``keep_ratio``; a
            step other than ``Resize`` has its ``type`` too. None where nothing is resized.
        config, checkpoint: File names of the config and the checkpoint.
        opset: ONNX opset.
        mmattn_version, torch_version: Versions that wrote the file.
        input: Description of the input.
        test_pad: How images are padded at the right and at the bottom after that, which is not in
            the file either (``find_test_pad``); None where nothing is padded.
        postprocess: For detection, ``score_threshold``, ``iou_threshold``, ``nms_pre`` and
            ``max_per_image`` of the config's test, in the file if ``output`` is ``"nms"``,
            ``multi_label``, whether a candidate may be of several classes or stands for its best
            alone, the ``strides`` of the pyramid and, of the form ``decoded``, ``min_box_size`` and
            ``thresholded``, whether the file has applied ``score_threshold`` (to class scores that
            a centerness is multiplied to after that); for segmentation ``align_corners``, by which
            logits are resized to the size of the image.
        bit_depth: Bits in use of images that have more than 8, as the config's dataset says.
        precision: ``"float32"``, or ``"int8"`` of a quantised file.
    """

    task: str
    classes: list[str]
    palette: list[list[int]]
    output: str
    threshold: float | None
    shape: list[int]
    dynamic: bool
    size_divisor: int
    network_channel_order: str
    mean: list[float]
    std: list[float]
    test_mode: str
    test_resize: dict[str, Any] | None
    config: str
    checkpoint: str
    opset: int
    mmattn_version: str
    torch_version: str
    input: str = "float32 RGB 0..255, (N, 3, H, W); normalised inside the graph"
    test_pad: list[dict[str, Any]] | None = None
    postprocess: dict[str, Any] | None = None
    bit_depth: int | None = None
    precision: str = "float32"

    def to_props(self) -> dict[str, str]:
        """Return keys and JSON values for ``onnx.helper.set_model_props``."""
        return {key: json.dumps(value, ensure_ascii=False) for key, value in asdict(self).items()}

    @classmethod
    def from_props(cls, props: dict[str, str], source: str) -> ExportMetadata:
        """Read back what ``to_props`` wrote; keys of other programs are ignored.

        Args:
            props: Keys and values stored in the file.
            source: Path of the file, used in messages.

        Raises:
            ExportError: A key is missing or is not JSON: the file was not written by mmattn.
        """
        values = {}
        for field in fields(cls):
            if field.name not in props and field.default is not MISSING:
                continue  # a file of an older version
            try:
                values[field.name] = json.loads(props[field.name])
            except (KeyError, json.JSONDecodeError) as error:
                raise ExportError(
                    f"{source}: metadata {field.name!r} is missing or unreadable, so this is not a "
                    "file that `mmattn export` wrote; export the checkpoint again"
                ) from error
        return cls(**values)
